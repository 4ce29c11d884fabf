//! Prompts as tokens, each with the room that it leaves for an answer: all are looked at before the first one is answered.
use super::generate_args::GenerateArgs;
use super::options::Talker;
use super::prompts::{Place, Prompt};
use anyhow::{Context, Result, bail};

/// A prompt that can be answered.
#[derive(Clone, Debug)]
pub struct Question<'p> {
    /// What it says.
    pub text: &'p str,
    /// The model's input.
    pub ids: Vec<u32>,
    /// Tokens of its answer, at most.
    pub most: usize,
    /// Whether the answer goes on with its text, and is no turn of its own.
    pub goes_on: bool,
}

/// What a model has for a prompt and its answer.
#[derive(Clone, Copy, Debug)]
struct Room {
    positions: usize,
    /// Tokens of an answer, at most.
    max_new_tokens: usize,
    /// Whether so many are asked for, so that fewer would not do.
    is_asked: bool,
}

/// All of `prompts`, for answers of at most `max_new_tokens`.
///
/// # Errors
/// When one cannot be a question, or leaves no room for an answer; names it.
pub fn all<'p>(
    args: &GenerateArgs,
    talker: &Talker,
    prompts: &'p [Prompt<'_>],
    max_new_tokens: usize,
) -> Result<Vec<Question<'p>>> {
    let room = Room {
        positions: talker.positions(),
        max_new_tokens,
        is_asked: args.sampling.max_new_tokens.is_some(),
    };
    let question = |prompt: &'p Prompt<'_>| {
        let ids = if args.chat {
            talker.encoder.prompt(&talker.conversation(&prompt.text))
        } else {
            talker.encoder.continued(&prompt.text)
        };
        let ids = ids.with_context(|| prompt.place.to_string())?;
        Ok(Question {
            text: &prompt.text,
            most: room.behind(ids.len(), prompt.place)?,
            goes_on: !args.chat,
            ids,
        })
    };
    prompts.iter().map(question).collect()
}

impl Room {
    /// Tokens of an answer to a prompt of so many, at most.
    fn behind(self, tokens: usize, place: Place<'_>) -> Result<usize> {
        let Self {
            positions,
            max_new_tokens,
            is_asked,
        } = self;
        if tokens == 0 {
            bail!(
                "{place}: this is empty, and this model has no token that begins a text; write something there, or leave it out"
            );
        }
        // The last token of an answer is only told, never read, so that it needs no position.
        let left = (positions + 1).saturating_sub(tokens);
        if left == 0 {
            bail!(
                "{place}: this is {tokens} tokens, and the model has {positions} positions; shorten it, or leave it out"
            );
        }
        if is_asked && max_new_tokens > left {
            bail!(
                "{place}: this is {tokens} tokens, and with --max-new-tokens {max_new_tokens} more than the model's {positions} \
                 positions; shorten it, or ask for at most {left}"
            );
        }
        Ok(max_new_tokens.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_the_positions_unless_its_length_is_asked_for() {
        let room = Room {
            positions: 100,
            max_new_tokens: 30,
            is_asked: false,
        };
        let asked = Room {
            is_asked: true,
            ..room
        };
        let place = Place::Option(2);
        for (tokens, most) in [(1, 30), (71, 30), (72, 29), (100, 1)] {
            assert_eq!(room.behind(tokens, place).unwrap(), most);
        }
        assert_eq!(asked.behind(71, place).unwrap(), 30);
        for (room, tokens, mend) in [
            (room, 101, "shorten it"),
            (asked, 101, "shorten it"),
            (asked, 72, "at most 29"),
            (room, 0, "empty"),
        ] {
            let error = room.behind(tokens, place).unwrap_err().to_string();
            assert!(error.contains("prompt 2") && error.contains(mend), "{error}");
        }
    }
}
