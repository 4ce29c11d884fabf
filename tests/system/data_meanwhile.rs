//! Data files that vanish, or become others, while a run trains on them: it stops with the file named, keeps its checkpoint,
//! and goes on to the curve of an undisturbed run when they are back.
use crate::runner::fixtures::{FIRST_SHARD, c4_folder, lines, save_tokenizer, texts, write_gzip};
use crate::runner::promises::curve_of;
use crate::training::{constant, tiny_llama};
use blockllm::data::{Corpus, Layout, LmBatch, LoaderConfig, Tokenizer};
use blockllm::train::{
    BatchSource, Checkpoints, LanguageModeling, MemoryMeter, Method, RunFolder, Setup, TextBatches,
    TrainError, train_resumable,
};
use burn::tensor::Device;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STEPS: u64 = 200;

/// The batch before which something happens to the files; an epoch has 75, so they are met again at the next.
const AT: usize = 60;

/// Batches of a folder, to whose files something happens meanwhile.
struct Disturbed<'a> {
    batches: TextBatches,
    given: usize,
    happens: &'a dyn Fn(),
}

impl BatchSource<LmBatch> for Disturbed<'_> {
    fn next_batch(&mut self) -> Result<LmBatch, TrainError> {
        if self.given == AT {
            (self.happens)();
        }
        self.given += 1;
        self.batches.next_batch()
    }

    fn cursor(&self) -> serde_json::Value {
        self.batches.cursor()
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        self.batches.resume(cursor)
    }
}

/// Trains the run in `folder`, or goes on with it.
fn train_on(
    data: &Path,
    tokenizer: &Arc<Tokenizer>,
    folder: &Path,
    happens: &dyn Fn(),
) -> Result<(), TrainError> {
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let config = constant(STEPS, 1e-3);
    let method = Method::parse("blockllm:0.5").unwrap().with_patience(5);
    // Small blocks and no cache: every epoch reads the files again.
    let loader = LoaderConfig {
        batch_size: 4,
        seq_len: 24,
        layout: Layout::TruncateAndPad,
        shuffle_buffer: 12,
        prefetch: 1,
        cache_tokens: 0,
        ..LoaderConfig::default()
    };
    let corpus = Corpus::from_path(data).unwrap();
    let mut batches = Disturbed {
        batches: TextBatches::new(corpus, tokenizer.clone(), loader)?,
        given: 0,
        happens,
    };
    let checkpoints = Checkpoints::new(folder, 20);
    let mut folder = RunFolder::new(folder);
    match checkpoints.newest_whole(&mut |text| panic!("{text}"))? {
        Some(step) => folder.resume(&config, &"no files", step, &mut |text| eprintln!("{text}"))?,
        None => folder.start(&config, &"no files")?,
    }
    let validation = TextBatches::new(
        Corpus::from_documents("validation", texts(8), vec![]),
        tokenizer.clone(),
        LoaderConfig {
            batch_size: 2,
            seq_len: 24,
            ..LoaderConfig::default()
        },
    )?
    .next_batch()?;
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &method,
        config: &config,
        validation: &[validation],
        device: &device,
    };
    let model = tiny_llama()
        .with_vocab_size(tokenizer.vocab_size())
        .init(0, &device);
    train_resumable(&setup, model, &mut batches, meter, &mut folder, &checkpoints).map(|_| ())
}

fn shards(data: &Path) -> [PathBuf; 2] {
    [FIRST_SHARD, "c4-train.00001-of-00002.json.gz"].map(|name| data.join(name))
}

/// What a run says whose files `happens` befalls, and the curves of it, `back` done, and of an undisturbed one.
fn assert_goes_on(happens: &dyn Fn(&[PathBuf; 2]), back: &dyn Fn(&[PathBuf; 2]), told: &[&str]) {
    let (data, whole, parted) = (
        c4_folder(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let tokenizer = Arc::new(Tokenizer::from_file(&save_tokenizer(data.path())).unwrap());
    train_on(data.path(), &tokenizer, whole.path(), &|| {}).unwrap();

    let shards = shards(data.path());
    let error = train_on(data.path(), &tokenizer, parted.path(), &|| happens(&shards)).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, TrainError::Data(_)), "{message}");
    for part in told.iter().chain(&["c4-train.0000"]) {
        assert!(message.contains(part), "{part}: {message}");
    }
    let newest = Checkpoints::new(parted.path(), 20).newest().unwrap();
    assert!(
        (AT as u64..STEPS).contains(&newest),
        "the checkpoint of step {newest}"
    );

    back(&shards);
    train_on(data.path(), &tokenizer, parted.path(), &|| {}).unwrap();
    assert_eq!(curve_of(parted.path()), curve_of(whole.path()));
}

fn away(shard: &Path) -> PathBuf {
    shard.with_extension("away")
}

fn take_away(shards: &[PathBuf; 2]) {
    for shard in shards {
        fs::rename(shard, away(shard)).unwrap();
    }
}

fn put_back(shards: &[PathBuf; 2]) {
    for shard in shards {
        fs::rename(away(shard), shard).unwrap();
    }
}

#[test]
fn a_run_whose_data_files_vanish_meanwhile_stops_and_goes_on_when_they_are_back() {
    assert_goes_on(&take_away, &put_back, &["cannot open"]);
}

#[test]
fn a_run_whose_data_files_become_others_meanwhile_stops_and_goes_on_when_they_are_as_they_were() {
    let replace = |shards: &[PathBuf; 2]| {
        take_away(shards);
        for shard in shards {
            write_gzip(shard, &lines(&texts(140)));
        }
    };
    assert_goes_on(
        &replace,
        &put_back,
        &["was changed while it was trained on", "Put back"],
    );
}
