//! Text generation in one call, and for several prompts at once.

use super::causal_lm::LlamaForCausalLM;
use super::decoder::{Decoder, no_tokens};
use super::generate_config::GenerateConfig;
use super::sampling::Chooser;
use crate::ModelError;

/// What errors name.
const ORIGIN: &str = "generate";

/// Tokens of several texts as they are chosen: `(row, token)`, the rows in order, each once in a round. It ends when every row has
/// had its last token, or after an error.
#[derive(Debug)]
pub struct BatchStream<'m> {
    decoder: Decoder<'m>,
    config: GenerateConfig,
    /// The texts that go on; these are the rows of the decoder.
    texts: Vec<Text>,
    /// Those that have their token of this round and have not handed it out, in their order.
    chosen: std::vec::IntoIter<(usize, u32)>,
}

/// One text that goes on.
#[derive(Debug)]
struct Text {
    row: usize,
    tokens: Vec<u32>,
    chooser: Chooser,
    left: usize,
}

impl LlamaForCausalLM {
    /// Continues `prompt`, on the device that holds the weights; returns prompt and continuation.
    ///
    /// Call it on a model without autodiff (`model.valid()`) to keep no graph. [`Generator`](super::Generator) gives the tokens as they
    /// are chosen.
    ///
    /// # Errors
    ///
    /// When a field of `config` is senseless, the prompt is empty or has tokens outside of the vocabulary, prompt
    /// and continuation need more than `max_position_embeddings` positions, or the weights give logits that are no numbers.
    pub fn generate(&self, prompt: &[u32], config: &GenerateConfig) -> Result<Vec<u32>, ModelError> {
        let mut texts = self.generate_batch(&[prompt], config)?;
        Ok(texts.pop().expect("one prompt gives one text"))
    }

    /// Continues all of `prompts`, of any lengths, together; returns prompt and continuation of each.
    ///
    /// A text is the one that its prompt has alone (its draws are those of its row): the others are not seen. Equal sums can be
    /// rounded otherwise beside others, which decides between logits that are as good as equal.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate), naming the prompt.
    pub fn generate_batch<P: AsRef<[u32]>>(
        &self,
        prompts: &[P],
        config: &GenerateConfig,
    ) -> Result<Vec<Vec<u32>>, ModelError> {
        let mut texts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.as_ref().to_vec()).collect();
        for chosen in self.stream_batch(prompts, config)? {
            let (row, token) = chosen?;
            texts[row].push(token);
        }
        Ok(texts)
    }

    /// [`generate_batch`](Self::generate_batch) that hands out every token as it is chosen.
    ///
    /// # Errors
    ///
    /// As [`generate_batch`](Self::generate_batch); logits that are no numbers are an item of the stream.
    pub fn stream_batch<P: AsRef<[u32]>>(
        &self,
        prompts: &[P],
        config: &GenerateConfig,
    ) -> Result<BatchStream<'_>, ModelError> {
        self.stream_batch_up_to(prompts, &vec![config.max_new_tokens; prompts.len()], config)
    }

    /// [`stream_batch`](Self::stream_batch) with a number of new tokens, at most, for every prompt, whatever `max_new_tokens` says:
    /// prompts of unlike lengths have unlike room.
    ///
    /// # Errors
    ///
    /// As [`stream_batch`](Self::stream_batch).
    ///
    /// # Panics
    ///
    /// When `most` is not of as many prompts.
    pub fn stream_batch_up_to<P: AsRef<[u32]>>(
        &self,
        prompts: &[P],
        most: &[usize],
        config: &GenerateConfig,
    ) -> Result<BatchStream<'_>, ModelError> {
        config.validate()?;
        assert_eq!(prompts.len(), most.len(), "every prompt has a number of tokens");
        // A text that is to get no token is no row.
        let decoder = Decoder::new(self, most.iter().filter(|most| **most > 0).count());
        let mut texts = Vec::with_capacity(prompts.len());
        for (row, (prompt, most)) in prompts.iter().map(AsRef::as_ref).zip(most).enumerate() {
            let field = match prompts.len() {
                1 => "prompt".to_owned(),
                _ => format!("prompts[{row}]"),
            };
            check_prompt(&decoder, prompt, *most, &field)?;
            if *most > 0 {
                texts.push(Text {
                    row,
                    tokens: prompt.to_vec(),
                    chooser: Chooser::new(config, row, prompt),
                    left: *most,
                });
            }
        }
        Ok(BatchStream {
            decoder,
            config: config.clone(),
            texts,
            chosen: Vec::new().into_iter(),
        })
    }
}

/// Checks that there is a prompt, that its tokens are known, and that there are positions for what it becomes.
fn check_prompt(decoder: &Decoder<'_>, prompt: &[u32], most: usize, field: &str) -> Result<(), ModelError> {
    if prompt.is_empty() {
        return Err(no_tokens(ORIGIN, field));
    }
    decoder.check_tokens(prompt, ORIGIN, field)?;
    // The last token is only returned, never fed in, so it needs no position.
    let continued = prompt.len().saturating_add(most) - 1;
    let (found, expected) = (continued.max(prompt.len()), decoder.num_positions());
    if found > expected {
        return Err(ModelError::TooLong { expected, found });
    }
    Ok(())
}

impl BatchStream<'_> {
    /// A token for every text that goes on; those that have their last one are left out of all further rounds.
    fn round(&mut self) -> Result<Vec<(usize, u32)>, ModelError> {
        if !self.config.use_cache {
            self.decoder.clear();
        }
        let decoder = &self.decoder;
        let new = self.texts.iter().enumerate();
        let new: Vec<&[u32]> = new.map(|(at, text)| &text.tokens[decoder.len_of(at)..]).collect();
        let logits = self.decoder.feed(&new)?;
        let mut chosen = Vec::with_capacity(self.texts.len());
        for (text, logits) in self.texts.iter_mut().zip(logits) {
            let token = text.chooser.choose(logits, text.tokens.len());
            text.tokens.push(token);
            text.left -= 1;
            if self.config.stop_at.contains(&token) {
                text.left = 0;
            }
            chosen.push((text.row, token));
        }
        let going = |(_, text): &(usize, &Text)| text.left > 0;
        let kept: Vec<usize> = self
            .texts
            .iter()
            .enumerate()
            .filter(going)
            .map(|(at, _)| at)
            .collect();
        if kept.len() < self.texts.len() {
            self.texts.retain(|text| text.left > 0);
            self.decoder.keep_rows(&kept);
        }
        Ok(chosen)
    }
}

impl Iterator for BatchStream<'_> {
    type Item = Result<(usize, u32), ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(chosen) = self.chosen.next() {
            return Some(Ok(chosen));
        }
        if self.texts.is_empty() {
            return None;
        }
        match self.round() {
            Ok(chosen) => self.chosen = chosen.into_iter(),
            Err(error) => {
                self.texts.clear();
                return Some(Err(error));
            }
        }
        self.chosen.next().map(Ok)
    }
}
