//! A small complete run of the default methods, shared by the tests that look at what it left.
use super::fixtures::fill_c4_folder;
use super::folders::{report_in, run_in};
use super::process::{Ended, succeed, text};
use blockllm::train::{Record, RunFolder, RunResult};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The default methods, and their folders below `out/c4`.
pub const METHODS: [(&str, &str); 4] = [
    ("adamw", "adamw-0"),
    ("blockllm:0.5", "blockllm-0.5-0"),
    ("blockllm:0.9", "blockllm-0.9-0"),
    ("blockllm-whitened:0.95", "blockllm-whitened-0.95-0"),
];

/// A run of `c4 --steps 12`.
#[derive(Debug)]
pub struct CompleteRun {
    /// Its C4-shaped folder.
    pub data: PathBuf,
    /// Its output.
    pub out: PathBuf,
    ended: Ended,
}

impl CompleteRun {
    /// The one that all tests share; it is made once a process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<CompleteRun> = OnceLock::new();
        SHARED.get_or_init(|| {
            let folder =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("complete-run-{}", std::process::id()));
            let data = folder.join("data");
            fs::create_dir_all(&data).unwrap();
            fill_c4_folder(&data);
            let out = folder.join("out");
            let ended = succeed(arguments(&data, &out));
            CompleteRun { data, out, ended }
        })
    }

    /// The folder of a method's run.
    pub fn folder(&self, name: &str) -> PathBuf {
        run_in(&self.out.join("c4"), name)
    }

    /// The results, in the order of [`METHODS`].
    pub fn results(&self) -> Vec<RunResult> {
        let read = |(_, name): (_, &str)| {
            let text = fs::read_to_string(self.folder(name).join("result.json")).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        METHODS.map(read).to_vec()
    }
}

/// The arguments of the run.
pub fn arguments<'a>(data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    vec![
        "c4",
        "--steps",
        "12",
        "--patience",
        "2",
        "--data",
        text(data),
        "--out",
        text(out),
    ]
}

fn records(folder: &Path) -> Vec<Record> {
    RunFolder::new(folder).records().unwrap()
}

/// Loss and gradient norm of every step, and every evaluation, bit for bit.
pub fn curve(records: &[Record]) -> Vec<[u64; 3]> {
    let point = |record: &Record| match record {
        Record::Step(step) => Some([step.step, step.loss.to_bits(), step.grad_norm.to_bits()]),
        Record::Evaluation(evaluation) => Some([
            evaluation.step,
            evaluation.evaluation.loss.to_bits(),
            evaluation.evaluation.labels,
        ]),
        Record::Selection(_) | Record::Skipped(_) | Record::LeftOut(_) => None,
    };
    records.iter().filter_map(point).collect()
}

#[test]
fn a_good_run_prints_its_table_and_writes_a_report_with_a_row_per_method_and_plots() {
    let run = CompleteRun::shared();
    let report = fs::read_to_string(report_in(&run.out, "c4").join("report.md")).unwrap();
    for (method, _) in METHODS {
        let row = format!("| {method} ");
        assert_eq!(
            report.matches(&row).count(),
            3,
            "a row in the tables of figures, of memory, and of what was estimated:\n{report}"
        );
        assert!(run.ended.stdout.contains(&row), "{}", run.ended.stdout);
    }
    assert!(report.contains("C4 (local, 2 train shards)"), "{report}");
    assert!(run.ended.stdout.contains("report.md"), "{}", run.ended.stdout);
    let html = fs::read_to_string(report_in(&run.out, "c4").join("report.html")).unwrap();
    let links: Vec<_> = report
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    for plot in ["loss.svg", "validation.svg", "memory.svg"] {
        assert!(links.contains(&plot), "{plot} is not among {links:?}");
    }
    for link in links
        .iter()
        .filter(|link| Path::new(link).extension().is_some_and(|ending| ending == "svg"))
    {
        let svg = fs::read_to_string(report_in(&run.out, "c4").join(link)).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
            "{link}"
        );
        let shapes = svg.matches("<polyline").count() + svg.matches("<rect").count();
        assert!(shapes > 2, "{link} shows nothing: {svg}");
    }
    assert!(html.matches("<svg").count() >= links.iter().filter(|link| link.ends_with("svg")).count());
}

#[test]
fn a_run_folder_holds_config_manifest_metrics_and_result_in_full() {
    let run = CompleteRun::shared();
    for ((method, name), result) in METHODS.into_iter().zip(run.results()) {
        let folder = run.folder(name);
        let read = |file: &str| -> serde_json::Value {
            serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let (config, manifest) = (read("config.json"), read("manifest.json"));
        assert_eq!(config["method"]["label"], method);
        assert_eq!(config["train"]["steps"], 12);
        let loader = |key: &str| config["loader"][key].as_u64().unwrap();
        let tokens_seen = 12 * loader("batch_size") * loader("seq_len");
        assert!(config["model"]["hidden_size"].is_u64(), "{config}");
        assert_eq!(manifest["files"].as_array().unwrap().len(), 3, "{manifest}");
        assert!(
            manifest["files"][0]["ends_sha256"]
                .as_str()
                .is_some_and(|hash| hash.len() == 64),
            "{manifest}"
        );

        let records = records(&folder);
        let steps: Vec<_> = crate::training::steps(&records);
        assert!(steps.iter().map(|step| step.step).eq(1..=12));
        assert!(
            steps
                .iter()
                .all(|step| step.loss.is_finite() && step.grad_norm > 0.0 && step.step_ms > 0.0)
        );
        assert!(matches!(&records[0], Record::Evaluation(evaluation) if evaluation.step == 0));
        let Some(Record::Evaluation(last)) = records.last() else {
            panic!("the last record is no evaluation: {:?}", records.last());
        };
        assert_eq!((last.step, last.tokens_seen), (12, tokens_seen));
        assert_eq!(
            last.evaluation.perplexity().to_bits(),
            result.last.evaluation.perplexity().to_bits()
        );
        assert_eq!(
            (result.method.as_str(), result.steps, result.tokens_seen),
            (method, 12, tokens_seen)
        );
        assert!(
            result.last.evaluation.perplexity() < 0.5 * result.untrained.evaluation.perplexity(),
            "{result:?}"
        );
        assert!(result.tokens_per_second > 0.0 && result.step_ms > 0.0);
    }
}

#[test]
fn the_data_that_the_runs_have_read_are_recorded_with_their_hashes() {
    let run = CompleteRun::shared();
    let data = fs::read_to_string(run.out.join("c4/data.json")).unwrap();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    for file in data["files"].as_array().unwrap() {
        let path = run.data.join(file["path"].as_str().unwrap());
        let (_, hash) = blockllm::data::hashing::sha256_file(&path).unwrap();
        assert_eq!(file["sha256"], hash, "{data}");
    }
}

#[test]
fn methods_of_one_seed_start_from_the_same_weights_and_see_the_same_batches() {
    let run = CompleteRun::shared();
    let of = |name: &str| {
        let folder = run.folder(name);
        let config = fs::read_to_string(folder.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
        let records = records(&folder);
        let steps = crate::training::steps(&records);
        let tokens: Vec<_> = steps.iter().map(|step| step.tokens_seen).collect();
        // The untrained model and the first loss are before any update.
        (
            curve(&records)[0],
            steps[0].loss.to_bits(),
            tokens,
            config["loader"].clone(),
            manifest,
        )
    };
    let expected = of(METHODS[0].1);
    for (_, name) in &METHODS[1..] {
        assert_eq!(of(name), expected, "{name}");
    }
}

#[test]
fn the_same_command_gives_the_same_loss_curves_to_the_last_digit() {
    let run = CompleteRun::shared();
    let again = tempfile::tempdir().unwrap();
    succeed(arguments(&run.data, again.path()));
    for (_, name) in METHODS {
        let first = curve(&records(&run.folder(name)));
        let second = curve(&records(&run_in(&again.path().join("c4"), name)));
        assert_eq!(first.len(), 14, "12 steps and two evaluations");
        assert_eq!(first, second, "{name}");
    }
}

#[test]
fn the_run_selects_again_and_tells_why() {
    let run = CompleteRun::shared();
    let records = records(&run.folder("blockllm-0.9-0"));
    let selections = records.iter().filter_map(|record| match record {
        Record::Selection(event) => Some(event),
        _ => None,
    });
    let selections: Vec<_> = selections.collect();
    assert_eq!(selections.len() as u64, run.results()[2].selections);
    assert!(!selections.is_empty() && selections.iter().all(|event| !event.blocks.is_empty()));
}
