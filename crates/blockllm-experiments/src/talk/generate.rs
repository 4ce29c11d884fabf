//! `generate`: goes on with texts, or answers questions, one after the other or several at a time.
use super::generate_args::GenerateArgs;
use super::options::Talker;
use super::questions::Question;
use super::spoken::{Pace, Spoken};
use super::{prompts, questions};
use crate::out_file::{OutFile, OutPlace};
use crate::signals::{self, Stopped};
use crate::stdout::say;
use anyhow::Result;
use blockllm_model::llama::{GenerateConfig, LlamaForCausalLM};
use blockllm_train::Interrupt;
use blockllm_train::tell_line;
use serde_json::json;
use std::time::Instant;

/// Tokens of a text where neither the command line nor the model says how many.
const MAX_NEW_TOKENS: usize = 128;

/// What a first signal is told while a file is written.
const STOPPING: &str = "stopping; what is answered is kept, and once more leaves at once";

/// A model at work on questions.
struct Answering<'a> {
    args: &'a GenerateArgs,
    talker: &'a Talker,
    model: &'a LlamaForCausalLM,
    config: &'a GenerateConfig,
    interrupt: Interrupt,
}

/// Generates what `args` ask for, and prints it or writes it to a file.
///
/// # Errors
/// When model or prompts cannot be read, a prompt is too long, which is told before the first is answered, or the file cannot be
/// written; [`Stopped`] by a signal. What is answered by then is kept, and it is told where.
pub fn generate(args: &GenerateArgs) -> Result<()> {
    let out = args.check()?;
    let prompts = prompts::all(&args.prompt, args.prompts.as_deref())?;
    let talker = Talker::find(&args.model, &args.conversation)?;
    if args.chat {
        talker.check_conversation()?;
    }
    let config = args.sampling.config(&talker, MAX_NEW_TOKENS)?;
    let questions = questions::all(args, &talker, &prompts, config.max_new_tokens)?;
    let model = talker.load(&args.model)?;
    let answering = Answering {
        args,
        talker: &talker,
        model: &model,
        config: &config,
        interrupt: match &out {
            Some(_) => signals::install_telling(Some(STOPPING))?,
            // What is printed is there: a signal ends the process as it does any other.
            None => Interrupt::default(),
        },
    };
    let began = Instant::now();
    let answered = match &out {
        Some(out) => answering.write(&questions, out),
        None => answering.print(&questions),
    };
    let tokens = answered.map_err(|error| args.model.named(error))?;
    let seconds = began.elapsed().as_secs_f64();
    tell_line!("({})", Pace { tokens, seconds });
    Ok(())
}

impl Answering<'_> {
    /// Prints all answers, one that is computed alone as it comes; gives the number of their tokens.
    fn print(&self, questions: &[Question<'_>]) -> Result<u64> {
        let mut tokens = 0;
        for batch in self.batches(questions) {
            let is_alone = batch.len() == 1;
            if is_alone {
                say(&self.shown(&batch[0]))?;
            }
            let hear = |added: &str| if is_alone { say(added) } else { Ok(()) };
            let answers = self.answers(batch, hear);
            if is_alone && answers.is_err() {
                // What went wrong has a line of its own.
                say("\n")?;
            }
            for (question, (text, pace)) in batch.iter().zip(answers?) {
                tokens += pace.tokens;
                if is_alone {
                    say("\n")?;
                } else {
                    say(&format!("{}{text}\n", self.shown(question)))?;
                }
            }
        }
        Ok(tokens)
    }

    /// Writes all answers to a file; gives the number of their tokens.
    fn write(&self, questions: &[Question<'_>], place: &OutPlace) -> Result<u64> {
        let _listening = self.interrupt.listen();
        let mut out = place.begin()?;
        let tokens = match self.write_each(questions, &mut out) {
            Ok(tokens) => tokens,
            Err(error) => {
                return Err(error.context(match out.give_up() {
                    (0, _) => "no prompt was answered".to_owned(),
                    (kept, path) => format!(
                        "{kept} of {} prompts were answered; the answers are in {}",
                        questions.len(),
                        path.display()
                    ),
                }));
            }
        };
        out.finish()?;
        tell_line!("{} answers in {}", questions.len(), place.named().display());
        Ok(tokens)
    }

    fn write_each(&self, questions: &[Question<'_>], out: &mut OutFile) -> Result<u64> {
        let mut tokens = 0;
        for batch in self.batches(questions) {
            for (question, (text, pace)) in batch.iter().zip(self.answers(batch, |_| Ok(()))?) {
                tokens += pace.tokens;
                out.push(&json!({ "prompt": question.text, "answer": text, "tokens": pace.tokens }))?;
            }
        }
        Ok(tokens)
    }

    /// The answers to `questions`, computed together; `hear` gets their text as it comes.
    fn answers(
        &self,
        questions: &[Question<'_>],
        mut hear: impl FnMut(&str) -> Result<()>,
    ) -> Result<Vec<(String, Pace)>> {
        let tokenizer = self.talker.encoder.tokenizer();
        let mut spoken = Vec::with_capacity(questions.len());
        for question in questions {
            let begun = Spoken::new(tokenizer, &self.config.stop_at);
            spoken.push(if question.goes_on {
                begun.after(&question.ids)?
            } else {
                begun
            });
        }
        let ids: Vec<&[u32]> = questions.iter().map(|question| question.ids.as_slice()).collect();
        let most: Vec<usize> = questions.iter().map(|question| question.most).collect();
        for chosen in self.model.stream_batch_up_to(&ids, &most, self.config)? {
            Stopped::check(&self.interrupt)?;
            let (row, token) = chosen?;
            hear(&spoken[row].hear(token)?)?;
        }
        let mut answers = Vec::with_capacity(questions.len());
        for spoken in spoken {
            let (text, rest, pace) = spoken.finish()?;
            hear(&rest)?;
            answers.push((text, pace));
        }
        Ok(answers)
    }

    fn batches<'q, 'p>(&self, questions: &'q [Question<'p>]) -> std::slice::Chunks<'q, Question<'p>> {
        questions.chunks(usize::try_from(self.args.batch).unwrap_or(usize::MAX))
    }

    /// What stands before an answer: the text that goes on, or the question.
    fn shown(&self, question: &Question<'_>) -> String {
        if self.args.chat {
            format!("> {}\n", question.text)
        } else {
            question.text.to_owned()
        }
    }
}
