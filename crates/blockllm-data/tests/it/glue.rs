//! GLUE's files, labels and metrics: rows as they stand, errors with file and line, values as scikit-learn's.
//!
//! The metrics' numbers are made by `fixtures/glue_metrics_reference.py`.
use blockllm_data::glue::{GlueData, GlueExample, GlueLabel, GlueTask, Metric, metrics, write_submission};
use serde::Deserialize;
use std::path::Path;

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A task with these files below a folder of its own, and its test rows.
fn opened_all(
    task: GlueTask,
    files: &[(&str, &str)],
) -> Result<(GlueData, Result<Vec<GlueExample>, String>), String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), &format!("{}/{name}", task.name()), text);
    }
    let data = GlueData::open(dir.path(), task).map_err(|error| error.to_string())?;
    let test = data.test(false).map_err(|error| error.to_string());
    Ok((data, test))
}

/// A task with these files below a folder of its own.
fn opened(task: GlueTask, files: &[(&str, &str)]) -> Result<GlueData, String> {
    opened_all(task, files).map(|(data, _)| data)
}

const RTE: &str =
    "index\tsentence1\tsentence2\tlabel\n0\tA \"quote.\tB\tentailment\n1\tC\tD\tnot_entailment\n";

#[test]
fn a_quotation_mark_is_a_letter_and_labels_are_classes() {
    let (data, test) = opened_all(GlueTask::Rte, &[("train.tsv", RTE), ("dev.tsv", RTE)]).unwrap();
    assert_eq!(data.train.len(), 2);
    assert_eq!(data.train[0].sentence, "A \"quote.");
    assert_eq!(data.train[1].pair.as_deref(), Some("D"));
    let labels: Vec<_> = data.train.iter().map(|example| example.label.unwrap()).collect();
    assert_eq!(labels, [GlueLabel::Class(0), GlueLabel::Class(1)]);
    assert!(test.unwrap().is_empty(), "a test file may be missing");
}

#[test]
fn the_oddities_of_the_files_are_read_as_glue_means_them() {
    // CoLA has no header but in its test file; lines may end in CRLF.
    let cola = "gj04\t1\t\tThe sailors rode.\r\ngj04\t0\t*\tRode sailors the.\r\n";
    let files = [
        ("train.tsv", cola),
        ("dev.tsv", cola),
        ("test.tsv", "index\tsentence\n0\tBill coughed.\n"),
    ];
    let (data, test) = opened_all(GlueTask::Cola, &files).unwrap();
    assert_eq!(
        (data.train[1].sentence.as_str(), data.train[1].label),
        ("Rode sailors the.", Some(GlueLabel::Class(0)))
    );
    let test = test.unwrap();
    assert_eq!(
        (test[0].sentence.as_str(), test[0].label),
        ("Bill coughed.", None)
    );
    // MRPC begins with a byte-order mark, and its first column is the label.
    let mrpc = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tA\tB\n";
    let data = opened(GlueTask::Mrpc, &[("train.tsv", mrpc), ("dev.tsv", mrpc)]).unwrap();
    assert_eq!(data.validation[0].label, Some(GlueLabel::Class(1)));
    // Rows of MNLI without a gold label, and torn rows of QQP, are left out.
    let mnli = "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\t-\n1\tC\tD\tneutral\tcontradiction\n";
    let files = [
        ("train.tsv", mnli),
        ("dev_matched.tsv", mnli),
        ("dev_mismatched.tsv", mnli),
    ];
    let data = opened(GlueTask::Mnli, &files).unwrap();
    assert_eq!(
        (data.train.len(), data.train[0].index, data.train[0].label),
        (1, 1, Some(GlueLabel::Class(2)))
    );
    assert_eq!(data.validation_mismatched.len(), 1);
    let qqp = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n7\t1\t2\tA?\n8\t3\t4\tB?\tC?\t1\n";
    let data = opened(GlueTask::Qqp, &[("train.tsv", qqp), ("dev.tsv", qqp)]).unwrap();
    assert_eq!((data.train.len(), data.left_out), (1, 2));
    // A test file that is broken is told to who wants to predict it, and keeps nobody from training.
    let test = "id\tquestion1\tquestion2\n0\tA?\tB?\n1\tC?\n";
    let files = [("train.tsv", qqp), ("dev.tsv", qqp), ("test.tsv", test)];
    let (data, test) = opened_all(GlueTask::Qqp, &files).unwrap();
    assert_eq!(data.train.len(), 1);
    let error = test.unwrap_err();
    assert!(error.contains("test.tsv") && error.contains("line 3"), "{error}");
    // A space at the end is a token to a byte-level tokenizer: it stays.
    let sst = "sentence\tlabel\ngood \t1\n";
    let data = opened(GlueTask::Sst2, &[("train.tsv", sst), ("dev.tsv", sst)]).unwrap();
    assert_eq!(data.train[0].sentence, "good ");
    // A score is a number from 0 to 5.
    let sts = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n\
               0\ta\tb\tc\td\te\tf\tA\tB\t3.750\n";
    let data = opened(GlueTask::StsB, &[("train.tsv", sts), ("dev.tsv", sts)]).unwrap();
    assert_eq!(data.train[0].label, Some(GlueLabel::Score(3.75)));
    for folder in ["AX", "diagnostic"] {
        let dir = tempfile::tempdir().unwrap();
        let text = "index\tsentence1\tsentence2\n0\tA\tB\n";
        write(dir.path(), &format!("{folder}/diagnostic.tsv"), text);
        let data = GlueData::open(dir.path(), GlueTask::Ax).unwrap();
        assert_eq!(data.test(false).unwrap().len(), 1);
        assert!(data.test(true).unwrap().is_empty());
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let rows = |rows: &str| format!("index\tsentence1\tsentence2\tlabel\n{rows}");
    for (text, expected) in [
        (
            "index\tsentence1\tlabel\n0\tA\tentailment\n".to_owned(),
            ["line 1", "column `sentence2`"],
        ),
        (rows("0\tA\tB\tentailment\n1\tC\tD\n"), ["line 3", "found 3"]),
        (
            rows("0\tA\tB\tmaybe\n"),
            [
                "line 2: expected one of the labels entailment, not_entailment",
                "`maybe`",
            ],
        ),
        (rows(""), ["holds no row", "train.tsv"]),
        (String::new(), ["line 1", "column `sentence1`"]),
    ] {
        let error = opened(GlueTask::Rte, &[("train.tsv", &text), ("dev.tsv", RTE)]).unwrap_err();
        assert!(
            error.contains("train.tsv") && expected.iter().all(|part| error.contains(part)),
            "{error}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let error = GlueData::open(dir.path(), GlueTask::Rte).unwrap_err().to_string();
    assert!(
        error.contains("no data of RTE") && error.contains("train.tsv"),
        "{error}"
    );
    std::fs::create_dir(dir.path().join("RTE")).unwrap();
    let error = GlueData::open(dir.path(), GlueTask::Rte).unwrap_err().to_string();
    assert!(error.contains("train.tsv"), "{error}");
    std::fs::write(
        dir.path().join("RTE/train.tsv"),
        b"index\tsentence1\tsentence2\tlabel\n0\t\xff\tB\tentailment\n",
    )
    .unwrap();
    let error = GlueData::open(dir.path(), GlueTask::Rte).unwrap_err().to_string();
    assert!(error.contains("line 2: expected UTF-8"), "{error}");
    let error = opened(
        GlueTask::StsB,
        &[("train.tsv", "score\tsentence1\tsentence2\n6.1\tA\tB\n")],
    )
    .unwrap_err();
    assert!(
        error.contains("line 2: expected a score from 0 to 5, found `6.1`"),
        "{error}"
    );
}

#[test]
fn a_task_is_found_by_its_name_in_any_case() {
    for task in GlueTask::ALL {
        assert_eq!(GlueTask::from_name(task.name()).unwrap(), task);
        assert_eq!(
            GlueTask::from_name(&task.name().to_lowercase().replace('-', "")).unwrap(),
            task
        );
    }
    let error = GlueTask::from_name("SQuAD").unwrap_err().to_string();
    assert!(
        error.contains("`SQuAD`") && error.contains("CoLA, SST-2"),
        "{error}"
    );
}

#[derive(Deserialize)]
struct Reference {
    classes: Vec<Classes>,
    scores: Vec<Scores>,
}

#[derive(Deserialize)]
struct Classes {
    name: String,
    predicted: Vec<usize>,
    labels: Vec<usize>,
    accuracy: f64,
    f1: f64,
    matthews: f64,
}

#[derive(Deserialize)]
struct Scores {
    name: String,
    predicted: Vec<f64>,
    labels: Vec<f64>,
    pearson: f64,
    spearman: f64,
}

#[test]
fn the_metrics_are_those_of_scikit_learn_and_scipy() {
    let reference: Reference =
        serde_json::from_str(include_str!("../fixtures/glue_metrics_reference.json")).unwrap();
    assert_eq!((reference.classes.len(), reference.scores.len()), (6, 3));
    let near = |found: f64, expected: f64, what: &str| {
        assert!((found - expected).abs() < 1e-12, "{what}: {found} {expected}");
    };
    for row in reference.classes {
        near(
            metrics::accuracy(&row.predicted, &row.labels),
            row.accuracy,
            &row.name,
        );
        near(metrics::f1(&row.predicted, &row.labels), row.f1, &row.name);
        near(
            metrics::matthews_correlation(&row.predicted, &row.labels),
            row.matthews,
            &row.name,
        );
    }
    for row in reference.scores {
        near(
            metrics::pearson(&row.predicted, &row.labels),
            row.pearson,
            &row.name,
        );
        near(
            metrics::spearman(&row.predicted, &row.labels),
            row.spearman,
            &row.name,
        );
    }
}

#[test]
fn a_task_is_judged_by_its_own_metrics() {
    let classes = |classes: &[usize]| {
        classes
            .iter()
            .map(|class| GlueLabel::Class(*class))
            .collect::<Vec<_>>()
    };
    let scores = GlueTask::Mrpc.score(&classes(&[1, 1, 0]), &classes(&[1, 0, 0]));
    assert_eq!(
        scores.iter().map(|score| score.metric).collect::<Vec<_>>(),
        [Metric::F1, Metric::Accuracy]
    );
    assert!((scores[0].value - 2.0 / 3.0).abs() < 1e-12 && (scores[1].value - 2.0 / 3.0).abs() < 1e-12);
    let names = |task: GlueTask| {
        task.metrics()
            .iter()
            .map(|metric| metric.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(GlueTask::StsB), ["Pearson", "Spearman"]);
    assert_eq!(names(GlueTask::Cola), ["Matthews"]);
}

#[test]
fn a_submission_has_glue_s_words_and_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let written = |task, mismatched, predictions: &[GlueLabel]| {
        let path = write_submission(dir.path(), task, mismatched, predictions).unwrap();
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            std::fs::read_to_string(path).unwrap(),
        )
    };
    let (name, text) = written(GlueTask::Mnli, true, &[GlueLabel::Class(2), GlueLabel::Class(0)]);
    assert_eq!(
        (name.as_str(), text.as_str()),
        (
            "MNLI-mm.tsv",
            "index\tprediction\n0\tcontradiction\n1\tentailment\n"
        )
    );
    let (name, text) = written(
        GlueTask::StsB,
        false,
        &[GlueLabel::Score(5.21), GlueLabel::Score(1.23456)],
    );
    assert_eq!(
        (name.as_str(), text.as_str()),
        ("STS-B.tsv", "index\tprediction\n0\t5.000\n1\t1.235\n")
    );
}

#[test]
fn a_prediction_that_the_task_does_not_have_is_no_submission() {
    let dir = tempfile::tempdir().unwrap();
    for (task, prediction) in [
        (GlueTask::Rte, GlueLabel::Class(2)),
        (GlueTask::Rte, GlueLabel::Score(1.0)),
        (GlueTask::StsB, GlueLabel::Class(0)),
        (GlueTask::StsB, GlueLabel::Score(f32::NAN)),
    ] {
        let right = if task.is_regression() {
            GlueLabel::Score(1.0)
        } else {
            GlueLabel::Class(0)
        };
        let error = write_submission(dir.path(), task, false, &[right, prediction])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("prediction 1 of") && error.contains(task.name()),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

/// Only where the real data lie beside the checkout.
#[test]
fn the_real_files_have_as_many_rows_as_glue_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/glue");
    if !dir.is_dir() {
        println!("skipped: no GLUE data beside the checkout");
        return;
    }
    for (task, train, validation) in [
        (GlueTask::Cola, 8551, 1043),
        (GlueTask::Sst2, 67_349, 872),
        (GlueTask::Mrpc, 3668, 408),
        (GlueTask::Rte, 2490, 277),
        (GlueTask::Wnli, 635, 71),
        (GlueTask::StsB, 5749, 1500),
    ] {
        let data = GlueData::open(&dir, task).unwrap();
        assert_eq!(
            (data.train.len(), data.validation.len()),
            (train, validation),
            "{}",
            task.name()
        );
        assert!(
            data.train
                .iter()
                .all(|example| example.pair.is_some() == task.is_pair() && example.label.is_some())
        );
    }
    assert_eq!(
        GlueData::available(&dir).len(),
        6,
        "of QNLI only the dev file is there"
    );
    let formats = dir.join("format-fixtures-9-tasks");
    for task in GlueData::available(&formats) {
        assert!(
            !GlueData::open(&formats, task).unwrap().train.is_empty(),
            "{}",
            task.name()
        );
    }
    assert_eq!(GlueData::available(&formats).len(), 9);
}
