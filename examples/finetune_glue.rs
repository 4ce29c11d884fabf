//! Fine-tune an encoder on a task of GLUE, save it, load it again, and ask it about sentences of your own:
//! `cargo run --release --example finetune_glue -- [MODEL-FOLDER GLUE-FOLDER TASK [OUT-FOLDER]]`.
//!
//! Without arguments it takes a small BERT from random weights and generated rows, which show how it goes and nothing
//! more. Sentences are read from standard input, one to a line; the two of a pair are separated by a tab.
use anyhow::{Context, Result};
use blockllm::data::Tokenizer;
use blockllm::data::glue::{
    EncodedExamples, EpochConfig, GlueData, GlueExample, GlueLabel, GlueTask, PairEncoder, evaluation_batches,
};
use blockllm::model::Labels;
use blockllm::model::encoder::{
    EncoderConfig, EncoderForSequenceClassification, EncoderKind, load_for_sequence_classification,
    save_pretrained,
};
use blockllm::train::{
    CountingAllocator, ExampleBatches, FineTuning, MemoryMeter, Method, Progress, Schedule, ScheduleKind,
    SequenceClassification, Setup, TrainConfig, train,
};
use burn::module::Module;
use burn::tensor::Device;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MAX_LENGTH: usize = 128;

/// What is fine-tuned, on what.
struct Start {
    model: EncoderForSequenceClassification,
    config: EncoderConfig,
    /// Parameters that were drawn afresh.
    fresh: Vec<String>,
    encoder: PairEncoder,
    data: GlueData,
    epochs: u64,
    learning_rate: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let (start, out) = match &arguments[..] {
        [] => (generated(&device)?, "out/finetuned"),
        [model, glue, task] => (pretrained(model, glue, task, &device)?, "out/finetuned"),
        [model, glue, task, out] => (pretrained(model, glue, task, &device)?, out.as_str()),
        _ => anyhow::bail!("give MODEL-FOLDER GLUE-FOLDER TASK [OUT-FOLDER], or nothing"),
    };
    let (out, task) = (PathBuf::from(out), start.data.task);
    fine_tune(start, &out, meter, &device)?;
    println!("saved to {}; now type sentences", out.display());
    answer(&out, task, std::io::stdin().lock(), std::io::stdout())
}

/// Trains, evaluates after every epoch, and saves model and tokenizer to `out`.
fn fine_tune(start: Start, out: &Path, meter: MemoryMeter, device: &Device) -> Result<()> {
    let task = start.data.task;
    let pad_id = start.encoder.pad_id();
    let epochs = EpochConfig {
        batch_size: 16,
        shuffle: true,
        bucketing: true,
        seed: 0,
        pad_id,
    };
    let examples = Arc::new(EncodedExamples::new(start.encoder.encode_all(&start.data.train)?));
    let batches = ExampleBatches::new(examples, epochs)?;
    let validation = evaluation_batches(&start.encoder.encode_all(&start.data.validation)?, 32, pad_id);
    let per_epoch = batches.batches_per_epoch();
    let steps = start.epochs * per_epoch;
    let objective = SequenceClassification::new(task);
    let setup = Setup {
        objective: &objective,
        // 5 % of the entries at a time, and the fresh head at every step. Another method is another word: adamw, lora:8, ...
        method: &Method::parse("blockllm:0.95")?
            .with_patience(50)
            .fine_tuning(&FineTuning::encoder(start.fresh)),
        config: &TrainConfig {
            steps,
            learning_rate: start.learning_rate,
            schedule: Schedule {
                kind: ScheduleKind::Linear,
                warmup: 0.0,
                final_share: 0.0,
            },
            max_grad_norm: None,
            evaluate_every: per_epoch,
            ..TrainConfig::default()
        },
        validation: &validation,
        device,
    };
    let progress = &mut Progress::new(task.name(), steps);
    let trained = train(&setup, start.model, batches, meter, progress)?;
    println!(
        "{}: {:?}, best at step {}; peak {:.1} MiB",
        task.name(),
        trained.last.evaluation.metrics,
        trained.best.step,
        trained.memory.peak_bytes as f64 / f64::from(1 << 20)
    );

    save_pretrained(&trained.model.valid(), &start.config, out)?;
    Ok(start.encoder.tokenizer().save(&out.join("tokenizer.json"))?)
}

/// Loads what was saved, and says what it thinks of every line.
fn answer(folder: &Path, task: GlueTask, lines: impl BufRead, mut to: impl Write) -> Result<()> {
    let device = Device::flex();
    let loaded = load_for_sequence_classification(folder, task.num_labels(), 0, &device)?;
    let max_length = MAX_LENGTH.min(loaded.config.max_length());
    let encoder = PairEncoder::from_file(&folder.join("tokenizer.json"), max_length)?;
    let objective = SequenceClassification::new(task);
    for line in lines.lines() {
        let line = line?;
        let (sentence, pair) = match line.split_once('\t') {
            Some((sentence, pair)) => (sentence, Some(pair.to_owned())),
            None => (line.as_str(), None),
        };
        if pair.is_some() != task.is_pair() {
            let wanted = if task.is_pair() {
                "two sentences with a tab between"
            } else {
                "one sentence"
            };
            writeln!(to, "{} takes {wanted}", task.name())?;
            continue;
        }
        let example = GlueExample {
            sentence: sentence.to_owned(),
            pair,
            label: None,
            index: 0,
        };
        let batch = evaluation_batches(&[encoder.encode(&example)?], 1, encoder.pad_id());
        match objective.predict(&loaded.model, &batch, &device)?.first() {
            Some(GlueLabel::Class(class)) => writeln!(to, "{}", task.labels()[*class])?,
            Some(GlueLabel::Score(score)) => writeln!(to, "{score:.2} of 5")?,
            None => {}
        }
    }
    Ok(())
}

fn pretrained(model: &str, glue: &str, task: &str, device: &Device) -> Result<Start> {
    let task = GlueTask::from_name(task)?;
    let folder = Path::new(model);
    let loaded = load_for_sequence_classification(folder, task.num_labels(), 0, device)
        .with_context(|| format!("loading {model}"))?;
    println!("drawn afresh: {}", loaded.fresh.join(", "));
    let max_length = MAX_LENGTH.min(loaded.config.max_length());
    let encoder = PairEncoder::from_file(&folder.join("tokenizer.json"), max_length)?;
    let encoder = encoder.fitted(loaded.config.vocab_size)?;
    Ok(Start {
        model: loaded.model,
        config: loaded.config.with_labels(labels(task)),
        fresh: loaded.fresh,
        encoder,
        data: GlueData::open(Path::new(glue), task)?,
        epochs: 3,
        learning_rate: 3e-4,
    })
}

fn generated(device: &Device) -> Result<Start> {
    let data = GlueData::generated(GlueTask::Sst2, 0);
    let texts = data.train.iter().map(|example| example.sentence.clone());
    let tokenizer = Tokenizer::train_byte_level_bpe(texts, 512)?.with_separators()?;
    let config = EncoderConfig::new(EncoderKind::Bert, tokenizer.vocab_size(), 64, 128, 2, 4)
        .with_labels(labels(data.task));
    println!("no folder given: a small BERT from random weights, on generated rows");
    Ok(Start {
        model: config.init(0, device),
        fresh: vec!["classifier".into()],
        encoder: PairEncoder::new(tokenizer, MAX_LENGTH)?,
        config,
        data,
        // Random weights have more to learn.
        epochs: 12,
        learning_rate: 5e-3,
    })
}

fn labels(task: GlueTask) -> Labels {
    if task.is_regression() {
        Labels::numbered(1)
    } else {
        Labels::new(task.labels().iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fine_tuned_and_saved_tells_typed_sentences_apart() {
        let folder = std::env::temp_dir().join(format!("blockllm-finetune-{}", std::process::id()));
        let device = Device::flex().autodiff();
        let meter = MemoryMeter::start(&device);
        fine_tune(generated(&device).unwrap(), &folder, meter, &device).unwrap();
        let typed = "the kind warm bright clear river\na cruel cold dull murky river\n";
        let mut answers = Vec::new();
        answer(&folder, GlueTask::Sst2, typed.as_bytes(), &mut answers).unwrap();
        assert_eq!(String::from_utf8(answers).unwrap(), "0\n1\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
