//! What the questions must cover, as tests: every policy, and every choice of a method that `--help` offers.
#![cfg(test)]
use super::cost::Length;
use super::plan::{patience, pretraining};
use super::question::sparsity;
use super::questions::{QUESTIONS, find};
use crate::cli::Stage;
use crate::{Cli, Scale};
use blockllm_policy::PolicyConfig;
use blockllm_train::method::RunSettings;
use blockllm_train::{FineTuning, Method, Methods};
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::path::Path;

const STAGES: [Stage; 2] = [Stage::Pretraining, Stage::FineTuning];

/// The methods of all questions that are asked in `stage` at `scale`.
fn all(stage: Stage, scale: Scale) -> Vec<(&'static str, Vec<String>)> {
    let questions = find(&[], stage).unwrap();
    let patience = patience(stage, scale);
    questions
        .iter()
        .map(|question| (question.name, question.methods(stage, patience)))
        .collect()
}

/// `text` as a run of `stage` at `scale` has it.
fn method_of(text: &str, stage: Stage, scale: Scale) -> Method {
    let run = RunSettings {
        patience: patience(stage, scale),
        partition: "tensor",
        always: &[],
        never: &[],
        norm: blockllm_optim::NormKind::default(),
        probes: 2,
    };
    let method = Method::parse(text).unwrap().for_run(&run).unwrap();
    match stage {
        Stage::Pretraining => method,
        Stage::FineTuning => {
            method.fine_tuning(&FineTuning::encoder(vec!["classifier.out_proj.weight".into()]))
        }
    }
}

#[test]
fn every_question_has_one_name_and_compares() {
    let mut names = BTreeSet::new();
    for question in &QUESTIONS {
        assert!(names.insert(question.name), "{} twice", question.name);
    }
    let of_stage = |stage| all(stage, Scale::Quick);
    for (name, methods) in STAGES.into_iter().flat_map(of_stage) {
        assert!(methods.len() > 1, "{name}");
        let distinct: BTreeSet<_> = methods.iter().collect();
        assert_eq!(distinct.len(), methods.len(), "{name}");
    }
}

#[test]
fn no_two_rows_of_a_question_are_the_same_method_at_any_scale() {
    for stage in STAGES {
        for scale in [Scale::Quick, Scale::Cpu, Scale::Paper] {
            for (name, texts) in all(stage, scale) {
                let methods: Vec<_> = texts.iter().map(|text| method_of(text, stage, scale)).collect();
                for (place, method) in methods.iter().enumerate() {
                    let same = methods[..place]
                        .iter()
                        .find(|other| other.algorithm == method.algorithm);
                    assert!(
                        same.is_none(),
                        "{name}, {scale:?}: {} is {}",
                        method.label,
                        same.unwrap().label
                    );
                }
            }
        }
    }
}

#[test]
fn every_policy_stands_beside_the_others_at_one_budget() {
    for stage in STAGES {
        let (_, methods) = all(stage, Scale::Quick)
            .into_iter()
            .find(|(name, _)| *name == "policies")
            .unwrap();
        assert_eq!(methods.len(), PolicyConfig::names().len());
        assert_eq!(methods[0], format!("blockllm:{}", sparsity(stage)));
        let sparsities: BTreeSet<_> = methods
            .iter()
            .filter(|method| *method != "all")
            .map(|method| {
                method_of(method, stage, Scale::Quick)
                    .algorithm
                    .sparsity()
                    .map(f64::to_bits)
            })
            .collect();
        assert_eq!(sparsities.len(), 1, "{methods:?}");
    }
}

#[test]
fn every_value_that_help_offers_for_a_choice_of_the_method_is_a_row() {
    let help = Methods::built_in().settings_help();
    let blocks = help.split("Settings of ").nth(1).unwrap();
    for stage in STAGES {
        let rows = rows(stage, Scale::Quick);
        for key in [
            "partition",
            "norm",
            "smoothing",
            "measured",
            "mask",
            "refresh",
            "moments",
            "state",
            "direction",
            "reach",
            "masked-out",
            "score",
            "unit",
            "rule",
        ] {
            if key == "rule" && stage == Stage::FineTuning {
                continue;
            }
            let line = blocks
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(&format!("{key}=")));
            let values = line.unwrap().split_whitespace().next().unwrap();
            // The first is what a method has without the setting.
            for value in values.split('|').skip(1) {
                // Of a value with a number of one's own the row has another.
                let value = value.trim_end_matches("RANK");
                let setting = format!("+{key}={value}");
                assert!(
                    rows.iter().any(|row| row.contains(&setting)),
                    "{stage:?}: {setting}"
                );
            }
        }
        for part in [
            ":0,",
            ":0.99,",
            "+probes=0,",
            "+threshold=",
            "+ramp=",
            "+embedding-rate=",
            "+head-rate=",
            "+vector-rate=",
            "+matrix-rate=",
            "+recovery=",
            "+policy=unbiased:true",
        ] {
            let rows = rows.join(",");
            assert!(rows.contains(part), "{stage:?}: {part}");
        }
    }
}

/// The rows of all questions.
fn rows(stage: Stage, scale: Scale) -> Vec<String> {
    let questions = all(stage, scale).into_iter();
    questions.flat_map(|(_, methods)| methods).collect()
}

/// Whether `row` is of the method called `name`, in whatever settings.
fn is_of(name: &str, row: &str) -> bool {
    let rest = row.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '+', '@']))
}

#[test]
fn every_method_of_ours_is_a_row_and_has_its_multipliers_asked_about() {
    let names = Methods::built_in().names();
    for stage in STAGES {
        let rows = rows(stage, Scale::Quick);
        for name in &names {
            assert!(rows.iter().any(|row| is_of(name, row)), "{stage:?}: {name}");
        }
    }
    // Under another policy than its own BlockLLM moves weights by the same rates.
    let policies = PolicyConfig::names();
    let names = names
        .iter()
        .filter(|name| **name == "blockllm" || !policies.contains(*name));
    let rows = rows(Stage::Pretraining, Scale::Quick);
    for name in names {
        let has = |row: &String| is_of(name, row) && row.contains("-rate=");
        assert!(rows.iter().any(has), "no row of {name} has a multiplier");
    }
}

#[test]
fn all_questions_are_as_many_runs_as_help_and_readme_say() {
    let distinct = |stage| {
        rows(stage, Scale::Quick)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len()
    };
    let [pretrainings, fine_tunings] = STAGES.map(distinct);
    let questions = all(Stage::Pretraining, Scale::Quick).len();
    let command = Cli::command();
    let mut options = command.get_arguments();
    let option = options.find(|option| option.get_id() == "ablations").unwrap();
    let help = option.get_help().unwrap().to_string();
    let read = |path: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::read_to_string(root.join(path)).unwrap()
    };
    for (place, text, told) in [
        ("--ablations", &help, format!("{pretrainings} pretrainings")),
        ("--ablations", &help, format!("{fine_tunings} fine-tunings")),
        (
            "README.md",
            &read("README.md"),
            format!("{questions} such tables with a plot each: {pretrainings} short runs"),
        ),
        (
            "cargo xtask reproduce-paper --help",
            &read("xtask/src/reproduce_paper.rs"),
            format!("{pretrainings} pretrainings"),
        ),
    ] {
        assert!(text.contains(&told), "{place} does not say `{told}`");
    }
}

#[test]
fn a_quick_pretraining_is_minutes_and_even_the_longest_patience_can_end() {
    let distinct: BTreeSet<_> = rows(Stage::Pretraining, Scale::Quick).into_iter().collect();
    let settings = pretraining(Scale::Quick);
    // The tiny Llama with a vocabulary of 2,048.
    let seconds = distinct.len() as f64 * Length::of_pretraining(&settings, 4_210_000).seconds();
    assert!(seconds < 12.0 * 60.0, "{} runs, {seconds} s", distinct.len());
    let patiences = rows(Stage::Pretraining, Scale::Quick);
    let longest = patiences
        .iter()
        .filter_map(|row| row.split_once("+patience=")?.1.parse::<u64>().ok());
    assert!(longest.max().unwrap() * 2 < settings.steps);
}

#[test]
fn a_question_that_is_not_asked_in_fine_tuning_says_why() {
    let names = ["rule".to_owned()];
    assert_eq!(find(&names, Stage::Pretraining).unwrap()[0].name, "rule");
    let error = find(&names, Stage::FineTuning).unwrap_err().to_string();
    assert!(
        error.contains("`rule` is not asked in fine-tuning") && error.contains("glue --methods"),
        "{error}"
    );
    let other = find(&["colour".to_owned()], Stage::FineTuning)
        .unwrap_err()
        .to_string();
    assert!(
        other.contains("`colour`") && other.contains("sparsity, patience"),
        "{other}"
    );
}
