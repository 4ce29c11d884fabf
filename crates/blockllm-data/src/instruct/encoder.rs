//! Examples as token ids, with a mark on each token that is to be learned.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokenizers::PostProcessorWrapper;

use super::answers::{FoundBy, answered};
use super::chat_template::ChatTemplate;
use super::example::{ASSISTANT, Example, Message};
use super::special_names::SpecialNames;
use crate::row::IGNORE_INDEX;
use crate::tokenizer::library_error;
use crate::{DataError, DocumentForm, Tokenizer};

/// Which tokens the loss counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    /// What the assistant says in all its turns, and the token that ends each.
    #[default]
    Answers,
    /// Every token.
    All,
}

/// What becomes of an example that is longer than a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// Its beginning is kept; where that holds nothing to learn, it is left out.
    #[default]
    Cut,
    /// It is left out.
    Drop,
}

/// How examples become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodingConfig {
    /// The longest example, in tokens: the length of a row.
    pub max_tokens: usize,
    /// What becomes of a longer one.
    pub too_long: TooLong,
    /// Which tokens are learned.
    pub loss_on: LossOn,
}

impl Default for EncodingConfig {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            too_long: TooLong::default(),
            loss_on: LossOn::default(),
        }
    }
}

/// An example as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedInstruction {
    /// Token ids, special tokens included, not padded.
    pub input_ids: Vec<i32>,
    /// Whether a token is to be learned; as long as `input_ids`.
    pub learned: Vec<bool>,
}

impl EncodedInstruction {
    /// What is to be predicted at each token: the next one where it is learned, else [`IGNORE_INDEX`].
    pub fn labels(&self) -> impl Iterator<Item = i32> {
        let next = self.input_ids.iter().zip(&self.learned).skip(1);
        let labels = next.map(|(&id, &learned)| if learned { id } else { IGNORE_INDEX });
        labels
            .chain(std::iter::once(IGNORE_INDEX))
            .take(self.input_ids.len())
    }

    /// Whether any token is predicted: one that is learned and not the first.
    pub fn teaches(&self) -> bool {
        self.learned.iter().skip(1).any(|&learned| learned)
    }
}

/// Renders and tokenizes examples for one tokenizer.
#[derive(Debug, Clone)]
pub struct InstructEncoder {
    tokenizer: Arc<Tokenizer>,
    /// The library's tokenizer without its form of a text, which cuts offsets in some files.
    bare: tokenizers::Tokenizer,
    template: ChatTemplate,
    names: SpecialNames,
    form: DocumentForm,
    special: BTreeSet<u32>,
}

impl InstructEncoder {
    /// An encoder with `template` for conversations. Texts and completions get the tokens around a document instead.
    ///
    /// # Errors
    /// [`DataError::NoEndToken`] when it is not known what ends a text.
    pub fn new(tokenizer: Arc<Tokenizer>, template: ChatTemplate) -> Result<Self, DataError> {
        let mut bare = tokenizer.inner().clone();
        bare.with_post_processor(None::<PostProcessorWrapper>);
        let form = tokenizer.document_form()?;
        let added = bare.get_added_vocabulary().get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id);
        Ok(Self {
            special: special.chain([form.end]).collect(),
            names: SpecialNames::of(&tokenizer),
            tokenizer,
            bare,
            template,
            form,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The token that fills rows.
    pub fn pad_id(&self) -> i32 {
        self.form.pad as i32
    }

    /// The whole example, with its answers marked.
    ///
    /// The ids are those of the whole rendered text, tokenized once without the tokenizer's own beginning and end, since a
    /// template writes them itself; a token of which any part is said by the assistant is learned.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] with what the template says against a conversation; else as [`Tokenizer::encode`].
    pub fn encode(&self, example: &Example) -> Result<EncodedInstruction, DataError> {
        match example {
            Example::Conversation(messages) => {
                let found = answered(&self.template, messages, &self.names);
                let found = found.map_err(|found| DataError::ChatTemplate {
                    template: self.template.label().to_owned(),
                    found,
                })?;
                self.marked(&found.text, &found.answers, found.found_by == FoundBy::Marks)
            }
            Example::Completion { prompt, completion } => {
                let text = format!("{prompt}{completion}");
                let answer = prompt.len()..text.len();
                Ok(self.as_document(self.marked(&text, std::slice::from_ref(&answer), false)?))
            }
            Example::Text(text) => {
                let all = 0..text.len();
                Ok(self.as_document(self.marked(text, std::slice::from_ref(&all), false)?))
            }
        }
    }

    /// The tokens of `messages` and of what begins the assistant's turn: what an answer is generated from.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] with what the template says against a conversation; else as [`Tokenizer::encode`].
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, DataError> {
        let rendered = self.template.render(messages, &self.names, true);
        let rendered = rendered.map_err(|found| DataError::ChatTemplate {
            template: self.template.label().to_owned(),
            found,
        })?;
        self.ids(&rendered.text)
    }

    /// The tokens of a text that is to be continued, behind what begins a document.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn continued(&self, text: &str) -> Result<Vec<u32>, DataError> {
        Ok([self.form.before.clone(), self.ids(text)?].concat())
    }

    /// The tokens at which an answer is over: the one that ends a text, and the one that the template puts behind what the
    /// assistant says.
    pub fn ends(&self) -> Vec<u32> {
        let turns = ["user", ASSISTANT].map(|role| Message::new(role, "a"));
        let example = self.encode(&Example::Conversation(turns.to_vec())).ok();
        let behind = example.and_then(|example| {
            let last = example.learned.iter().rposition(|&learned| learned)?;
            u32::try_from(example.input_ids[last]).ok()
        });
        let behind = behind.filter(|id| self.special.contains(id) && *id != self.form.end);
        [self.form.end].into_iter().chain(behind).collect()
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.bare.encode_fast(text, false);
        let encoding = encoding.map_err(|error| library_error(self.tokenizer.label(), &*error))?;
        self.tokenizer.check_ids(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokenizes `text`; `with_ends` adds the token that ends a turn to each answer.
    fn marked(
        &self,
        text: &str,
        answers: &[Range<usize>],
        with_ends: bool,
    ) -> Result<EncodedInstruction, DataError> {
        let encoding = self.bare.encode(text, false);
        let encoding = encoding.map_err(|error| library_error(self.tokenizer.label(), &*error))?;
        self.tokenizer.check_ids(encoding.get_ids())?;
        let (ids, offsets) = (encoding.get_ids(), encoding.get_offsets());
        let mut learned = vec![false; ids.len()];
        for answer in answers {
            let first = offsets.partition_point(|&(_, end)| end <= answer.start);
            let mut behind = first;
            while offsets.get(behind).is_some_and(|&(start, _)| start < answer.end) {
                learned[behind] = true;
                behind += 1;
            }
            if let Some(end) = self.end_of_turn(text, ids, offsets, behind).filter(|_| with_ends) {
                learned[behind..=end].fill(true);
            }
        }
        Ok(EncodedInstruction {
            input_ids: ids.iter().map(|&id| id as i32).collect(),
            learned,
        })
    }

    /// The special token at `at`, or behind spaces there.
    fn end_of_turn(&self, text: &str, ids: &[u32], offsets: &[(usize, usize)], at: usize) -> Option<usize> {
        let is_space =
            |&(start, end): &(usize, usize)| text.get(start..end).is_some_and(|part| part.trim().is_empty());
        let spaces = offsets[at..]
            .iter()
            .zip(&ids[at..])
            .take_while(|(place, id)| is_space(place) && !self.special.contains(id));
        let end = at + spaces.count();
        ids.get(end)
            .is_some_and(|id| self.special.contains(id))
            .then_some(end)
    }

    /// With the tokens around a document; the last one is learned.
    fn as_document(&self, inside: EncodedInstruction) -> EncodedInstruction {
        let before = &self.form.before;
        let mut whole = EncodedInstruction {
            input_ids: before.iter().map(|&id| id as i32).collect(),
            learned: vec![false; before.len()],
        };
        whole.input_ids.extend(inside.input_ids);
        whole.learned.extend(inside.learned);
        whole.input_ids.push(self.form.end as i32);
        whole.learned.push(true);
        whole
    }
}
