//! Corpora: opened, described, pinned by a manifest.

use blockllm_data::hashing::sha256_file;
use blockllm_data::{Corpus, CorpusKind, DataError, DataManifest, DependencyDocsConfig, HashProgress, Split};

use crate::fixtures::{c4_folder, shared, texts, tokenizer, workspace};

#[test]
fn a_folder_of_c4_gives_its_train_and_validation_documents_in_order() {
    let folder = c4_folder();
    let corpus = Corpus::open(Some(folder.path()), &workspace()).unwrap();
    assert_eq!(
        (corpus.name(), corpus.describe()),
        ("c4", "C4 (local, 2 train shards)")
    );
    let train: Vec<String> = corpus.train_documents().map(Result::unwrap).collect();
    let validation: Vec<String> = corpus.validation_documents().map(Result::unwrap).collect();
    assert_eq!(train, texts(70)[..60]);
    assert_eq!(validation, texts(70)[60..]);
}

#[test]
fn a_corpus_says_what_it_is_validated_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(folder.path().join(name), "{\"text\":\"a\"}\n").unwrap();
    let describe = || Corpus::from_path(folder.path()).unwrap().describe().to_owned();
    write("train.jsonl");
    assert!(describe().ends_with("; one document in 20 is held out by its hash"));
    write("dev.jsonl");
    write("test.jsonl");
    let shards = "1 train shard, 1 validation shard, 1 test file left out";
    assert_eq!(describe(), format!("JSON lines (local, {shards})"));
}

#[test]
fn a_folder_without_shards_is_an_error_and_no_silent_default() {
    let folder = tempfile::tempdir().unwrap();
    let error = Corpus::open(Some(folder.path()), &workspace()).unwrap_err();
    assert!(matches!(error, DataError::NoShards { .. }), "{error}");
}

#[test]
fn a_manifest_pins_files_counts_and_tokenizer_and_survives_json() {
    let folder = c4_folder();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    let tokenizer = tokenizer();
    let manifest = DataManifest::of(&corpus, &tokenizer)
        .unwrap()
        .counted(&corpus, &tokenizer)
        .unwrap();
    assert_eq!(manifest.files[0].path, "en/c4-train.00000-of-00002.json.gz");
    assert_eq!(manifest.files.len(), 3);
    assert_eq!(manifest.train.unwrap().documents, 60);
    assert_eq!(manifest.validation_count.unwrap().documents, 10);
    assert_eq!(manifest.tokenizer_sha256, tokenizer.sha256());
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<DataManifest>(&json).unwrap(), manifest);
    // Another byte anywhere is another manifest.
    let shard = folder.path().join("en/c4-train.00001-of-00002.json.gz");
    crate::fixtures::write_shard(&shard, &texts(29));
    assert_ne!(
        DataManifest::of(&corpus, &tokenizer).unwrap().files,
        manifest.files
    );
}

#[test]
fn a_manifest_hashes_the_shards_that_were_read_and_no_others() {
    let folder = c4_folder();
    let open = || Corpus::from_path(folder.path()).unwrap();
    let memory = folder.path().join("hashes.json");
    let hashed = |corpus: &Corpus| {
        let mut total_bytes = 0;
        let manifest = DataManifest::of(corpus, &tokenizer()).unwrap();
        let mut progress = |told: HashProgress| total_bytes = told.total_bytes;
        let manifest = manifest.hashed(corpus, Some(&memory), &mut progress).unwrap();
        let hashes: Vec<_> = manifest.files.into_iter().map(|file| file.sha256).collect();
        (hashes, total_bytes)
    };
    assert_eq!(hashed(&open()), (vec![None, None, None], 0));
    let corpus = open();
    assert_eq!(corpus.validation_documents().count(), 10);
    assert!(corpus.train_documents().next().is_some());
    let (hashes, _) = hashed(&corpus);
    let of = |name: &str| Some(sha256_file(&folder.path().join("en").join(name)).unwrap().1);
    assert_eq!(hashes[0], of("c4-train.00000-of-00002.json.gz"));
    assert_eq!(hashes[1], None);
    assert_eq!(hashes[2], of("c4-validation.00000-of-00001.json.gz"));
    // Another process that reads the same shard has nothing to hash.
    let corpus = open();
    assert!(corpus.train_documents().next().is_some());
    assert_eq!(hashed(&corpus), (vec![hashes[0].clone(), None, None], 0));
}

#[test]
fn the_embedded_default_is_english_without_repeats_within_its_cap_and_the_same_every_time() {
    let config = DependencyDocsConfig {
        max_bytes: 300_000,
        max_package_bytes: 50_000,
        min_document_bytes: 200,
    };
    let collect = || Corpus::from_dependency_docs(&workspace(), &config).unwrap();
    let corpus = collect();
    assert_eq!(corpus.kind(), CorpusKind::DependencyDocs);
    assert_eq!(corpus.identity(), collect().identity());
    let bytes: u64 = corpus.packages().iter().map(|package| package.bytes).sum();
    assert!((300_000..600_000).contains(&bytes), "{bytes}");
    let documents: Vec<String> = corpus
        .train_documents()
        .chain(corpus.validation_documents())
        .map(Result::unwrap)
        .collect();
    let mut paragraphs: Vec<&str> = documents
        .iter()
        .flat_map(|document| document.split("\n\n"))
        .collect();
    let all = paragraphs.len();
    paragraphs.sort_unstable();
    paragraphs.dedup();
    assert_eq!(paragraphs.len(), all, "no paragraph comes twice");
    assert!(
        documents
            .iter()
            .all(|document| document.len() >= 200 && !document.contains("```"))
    );
    let the = documents
        .iter()
        .filter(|document| document.contains(" the "))
        .count();
    assert!(
        10 * the > 9 * documents.len(),
        "nearly every document of this length says `the`"
    );
}

#[test]
fn a_folder_that_is_no_workspace_names_itself_and_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let message = Corpus::open(None, folder.path()).unwrap_err().to_string();
    assert!(
        message.contains(&folder.path().display().to_string()),
        "{message}"
    );
    assert!(message.contains("cargo fetch --locked"), "{message}");
}

#[test]
fn a_tokenizer_learned_from_a_corpus_reports_a_bad_shard_instead_of_half_a_vocabulary() {
    let folder = c4_folder();
    let whole = Corpus::from_path(folder.path()).unwrap();
    assert_eq!(whole.train_tokenizer(280, u64::MAX).unwrap().vocab_size(), 280);
    let shard = folder.path().join("en/c4-train.00001-of-00002.json.gz");
    std::fs::write(&shard, "this is text and no gzip stream").unwrap();
    let corpus = Corpus::from_path(folder.path()).unwrap();
    assert!(matches!(
        corpus.train_tokenizer(280, u64::MAX),
        Err(DataError::CorruptShard { .. })
    ));
}

#[test]
fn the_shared_c4_sample_has_the_documents_that_its_readme_counts() {
    let Some(folder) = shared("c4") else { return };
    let corpus = Corpus::from_path(folder.parent().unwrap()).unwrap();
    let count = |split| {
        corpus
            .documents(split)
            .inspect(|document| assert!(document.is_ok()))
            .count()
    };
    assert_eq!((count(Split::Train), count(Split::Validation)), (1190, 120));
}
