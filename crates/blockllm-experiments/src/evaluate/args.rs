//! The command line of `evaluate`.
use crate::model_options::ModelOptions;
use blockllm_data::tasks::{EvalTask, TaskSource};
use blockllm_train::scoring::TaskRun;
use clap::Parser;
use std::path::PathBuf;

/// The word that asks for an evaluation.
pub const NAME: &str = "evaluate";

const EXAMPLES: &str = "\
Examples:
  evaluate --model ~/models/SmolLM2-135M --task arc-easy --data ~/data/ai2_arc
      accuracy on ARC's easy questions: the folder is as the hub has it, ARC-Easy/test-00000-of-00001.parquet in it is found
  evaluate --model out/instruct/RUN/model --task hellaswag --data hellaswag_val.jsonl --limit 500 --out items.jsonl
      the first 500 items of a file, and what the model said of each
  evaluate --model ~/models/Qwen2-0.5B --task mmlu --data ~/data/mmlu --shots 5
      every subject with the first five examples of its dev split before each question, as the harness has it
  evaluate --model model.gguf --task gsm8k --data test.jsonl --few-shot train.jsonl --shots 5
      sums in words: the model writes its answers, and the numbers in them are compared
  evaluate --model ~/models/SmolLM2-135M --perplexity book.txt
      how well it predicts a text, per token, word and byte

What is asked and how it is scored is as lm-evaluation-harness 0.4.13 has it:
  arc-easy, arc-challenge  version 1.0   acc, acc_norm       question, choices {text, label}, answerKey
  hellaswag                version 1.0   acc, acc_norm       activity_label, ctx_a, ctx_b, endings, label
  mmlu                     version 2     acc                 question, subject, choices, answer
  gsm8k                    version 3.0   exact_match         question, answer (with ####)
Examples before a question are the first ones of their file; the harness draws those of ARC, HellaSwag and GSM8K at random,
so that its scores with examples differ a little from these. Nothing is downloaded.";

/// Scores a language model on a task or a text of yours, as lm-evaluation-harness does
#[derive(Parser, Clone, Debug)]
#[command(name = "evaluate", version, after_help = EXAMPLES)]
pub struct Args {
    /// The model
    #[command(flatten)]
    pub model: ModelOptions,
    /// The task: arc-easy, arc-challenge, hellaswag, mmlu or gsm8k
    #[arg(
        long,
        value_name = "NAME",
        requires = "data",
        required_unless_present = "perplexity"
    )]
    pub task: Option<EvalTask>,
    /// Its data: a file (.parquet, .jsonl, .json, also .gz), or a folder with files of the split in their names
    #[arg(long, value_name = "FILE|DIR", requires = "task")]
    pub data: Option<PathBuf>,
    /// A text in UTF-8 whose perplexity is measured, instead of a task
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task", "data", "shots", "few_shot", "limit", "out", "max_new_tokens"])]
    pub perplexity: Option<PathBuf>,
    /// Solved examples before every question: 5 for gsm8k and none for the others, if it is left out
    #[arg(long, value_name = "N")]
    pub shots: Option<usize>,
    /// Where they come from; without it the train split (mmlu: dev) of the folder of --data
    #[arg(long, value_name = "FILE|DIR")]
    pub few_shot: Option<PathBuf>,
    /// The first N items only; of mmlu the first N of every subject
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Texts that the model reads at a time: more are faster and need more memory; it changes no score
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub batch: u64,
    /// Tokens of a generated answer, at most: the harness' 256, if it is left out
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// A file for what the model said of every item, a JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: Option<PathBuf>,
}

impl Args {
    /// The task and where its items are; none where a text is measured.
    pub(super) fn source(&self) -> Option<(EvalTask, TaskSource<'_>)> {
        let source = TaskSource {
            data: self.data.as_deref()?,
            few_shot: self.few_shot.as_deref(),
            shots: self.shots,
            limit: self
                .limit
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        };
        Some((self.task?, source))
    }

    /// Tokens of an answer, at most.
    pub(super) fn answer_tokens(&self) -> usize {
        self.max_new_tokens.unwrap_or(TaskRun::MAX_NEW_TOKENS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_task_wants_its_data_and_a_text_wants_no_task() {
        Args::command().debug_assert();
        let read = |words: &str| Args::try_parse_from(words.split(' '));
        let args = read("evaluate --model m --task arc_easy --data d --limit 3").unwrap();
        let (task, source) = args.source().unwrap();
        assert_eq!((task, source.limit), (EvalTask::ArcEasy, Some(3)));
        assert!(
            read("evaluate --model m --perplexity a.txt")
                .unwrap()
                .source()
                .is_none()
        );
        for (words, told) in [
            ("evaluate --model m", "--task"),
            ("evaluate --model m --task mmlu", "--data"),
            (
                "evaluate --model m --task xyz --data d",
                "arc-easy, arc-challenge, hellaswag, mmlu, gsm8k",
            ),
            ("evaluate --model m --perplexity a --shots 2", "--shots"),
            ("evaluate --model m --task mmlu --data d --batch 0", "--batch"),
        ] {
            let message = read(words).unwrap_err().to_string();
            assert!(message.contains(told), "{message}");
        }
    }
}
