//! A model on the items of a task, one after the other, and what came of each.
use super::answering::Answering;
use super::choosing::Chosen;
use super::likelihood::Scorer;
use crate::TrainError;
use blockllm_data::tasks::{Answer, AnswerFilter, ContinuationEncoder, TaskData, TaskItem};
use serde::Serialize;

/// Items that are encoded at once, for every row of a batch: enough to find rows of like length.
const ITEMS_PER_ROW: usize = 16;

/// What a task needs of a model.
#[derive(Debug)]
pub struct TaskRun<'a> {
    /// The items.
    pub data: &'a TaskData,
    /// Scores choices.
    pub scorer: &'a Scorer<'a>,
    /// Makes tokens of texts.
    pub encoder: &'a ContinuationEncoder,
    /// Tokens of a generated answer, at most.
    pub max_new_tokens: usize,
    /// Tokens that end one, beside the tokenizer's own.
    pub ends: &'a [u32],
}

/// What came of an item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemResult {
    /// Its file and place there.
    pub place: String,
    /// Its subject, where the task has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What was asked, without description and examples.
    pub question: String,
    /// What the model said.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a model said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Which choice it takes.
    Choice(Chosen),
    /// What it generated.
    Text {
        /// The right answer.
        gold: String,
        /// The model's, up to where it stops.
        generated: String,
        /// Whether it is right, strictly and flexibly read.
        is_right: [bool; 2],
    },
}

impl TaskRun<'_> {
    /// Tokens of a generated answer, at most, where nothing else is asked for: as many as the harness allows.
    pub const MAX_NEW_TOKENS: usize = 256;

    /// What there is to do: continuations to score, or answers to generate.
    pub fn requests(&self) -> usize {
        let of_item = |item: &TaskItem| match &item.answer {
            Answer::Choice { choices, .. } => choices.len(),
            Answer::Text(_) => 1,
        };
        self.data.items.iter().map(of_item).sum()
    }

    /// All items; `done` hears how many more of the [`requests`](Self::requests) are.
    ///
    /// # Errors
    /// As [`parts`](Self::parts).
    pub fn run(&self, done: &dyn Fn(usize)) -> Result<Vec<ItemResult>, TrainError> {
        let parts: Vec<_> = self.parts(done)?.collect::<Result<_, _>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// All items, in parts of a few batches in their order, each scored when it is asked for.
    ///
    /// # Errors
    /// [`TrainError::Unscorable`] naming the item, and what scoring or generating says.
    pub fn parts<'s>(
        &'s self,
        done: &'s dyn Fn(usize),
    ) -> Result<impl Iterator<Item = Result<Vec<ItemResult>, TrainError>> + 's, TrainError> {
        let batch = self.scorer.batch();
        let answering = if self.data.task.has_choices() {
            None
        } else {
            let ends = self.ends.to_vec();
            Some(Answering::new(
                self.scorer.model(),
                self.encoder,
                self.max_new_tokens,
                ends,
            )?)
        };
        let size = answering.as_ref().map_or(batch * ITEMS_PER_ROW, |_| batch);
        let items = self.data.items.len();
        let part = move |begin: usize| {
            let indices: Vec<usize> = (begin..items.min(begin + size)).collect();
            match &answering {
                None => self.choose(&indices, done),
                Some(answering) => self.generate(answering, &indices, done),
            }
        };
        Ok((0..items).step_by(size).map(part))
    }

    /// Scores the choices of some items.
    fn choose(&self, indices: &[usize], done: &dyn Fn(usize)) -> Result<Vec<ItemResult>, TrainError> {
        let mut pairs = Vec::new();
        for &index in indices {
            let request = self.data.request(index);
            for (choice, continuation) in request.continuations.iter().enumerate() {
                let pair = self.encoder.encode_pair(&request.context, continuation)?;
                let place = &self.data.items[index].place;
                self.scorer.check(&pair, || format!("{place}, choice {choice}"))?;
                pairs.push(pair);
            }
        }
        let mut likelihoods = self.scorer.score(&pairs, done)?.into_iter();
        let result = |index: &usize| {
            let item = &self.data.items[*index];
            let Answer::Choice { choices, gold } = &item.answer else {
                unreachable!("a task with choices has them in every item");
            };
            let of_item = likelihoods.by_ref().take(choices.len()).collect();
            ItemResult::new(item, Outcome::Choice(Chosen::new(of_item, choices, *gold)))
        };
        Ok(indices.iter().map(result).collect())
    }

    /// Lets the model answer items, a batch of them.
    fn generate(
        &self,
        answering: &Answering<'_>,
        indices: &[usize],
        done: &dyn Fn(usize),
    ) -> Result<Vec<ItemResult>, TrainError> {
        let context = |index: &usize| self.data.request(*index).context;
        let contexts: Vec<String> = indices.iter().map(context).collect();
        let answers = answering.answers(&contexts)?;
        done(indices.len());
        let answered = indices.iter().zip(answers);
        Ok(answered
            .map(|(index, said)| ItemResult::of_text(&self.data.items[*index], said))
            .collect())
    }
}

impl ItemResult {
    /// Of a generated answer.
    fn of_text(item: &TaskItem, generated: String) -> Self {
        let gold = item.answer_text().to_owned();
        let is_right = AnswerFilter::ALL.map(|filter| filter.is_right(&generated, &gold));
        let outcome = Outcome::Text {
            gold,
            generated,
            is_right,
        };
        Self::new(item, outcome)
    }

    fn new(item: &TaskItem, outcome: Outcome) -> Self {
        Self {
            place: item.place.clone(),
            subject: item.subject.clone(),
            question: item.text.clone(),
            outcome,
        }
    }
}
