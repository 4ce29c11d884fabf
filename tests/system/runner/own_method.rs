//! `examples/own_method.rs` as a process: a policy and an optimizer that no crate of ours knows are rows of a table, planned,
//! saved, killed and taken up again.
use super::fixtures::c4_folder;
use super::folders::{reports_in, run_in, runs_in};
use super::process::{Ended, text, wait_for_records};
use super::promises::curve_of;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const METHODS: &str = "adamw,fastest-growing:0.9+patience=3+probes=1,signum:0.8";

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_own-method-under-test"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Ended {
    let output = program(arguments).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn succeed(arguments: &[&str]) -> Ended {
    let ended = run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

fn result_of(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("result.json")).unwrap()).unwrap()
}

/// The cells of the last row of `method` in a report's text that has `columns` of them.
fn planned<'a>(report: &'a str, method: &str) -> Vec<&'a str> {
    let rows: Vec<&str> = report.lines().collect();
    let measured = rows.iter().position(|row| {
        let mut cells = row.split('|').map(str::trim);
        cells.nth(1) == Some(method) && cells.next() == Some("measured")
    });
    let estimated = rows[measured.unwrap_or_else(|| panic!("{method} is not in {report}")) + 1];
    estimated.split('|').map(str::trim).collect()
}

#[test]
fn a_policy_and_an_optimizer_of_another_crate_are_rows_beside_adamw_with_settings_and_plans() {
    let (data, out) = (c4_folder(), tempfile::tempdir().unwrap());
    let (data, out) = (text(data.path()), text(out.path()));
    let words = [
        "c4",
        "--steps",
        "8",
        "--data",
        data,
        "--out",
        out,
        "--methods",
        METHODS,
    ];
    succeed(&words);
    let c4 = Path::new(out).join("c4");
    let signum = result_of(&run_in(&c4, "signum-0.8-0"));
    assert_eq!(
        signum["method_config"]["algorithm"],
        serde_json::json!({ "signum": { "beta": 0.8 } })
    );
    assert_eq!(signum["trained_share"], 1.0);
    let state = &signum["memory"]["optimizer_state_bytes"];
    assert_eq!(state["measured"], state["estimated"]);
    let growing = result_of(&run_in(&c4, "fastest-growing-0.9-patience-3-probes-1-0"));
    let settings = &growing["method_config"]["algorithm"]["fastest-growing"];
    assert_eq!(settings["policy"]["interval"], 3);
    assert_eq!(settings["probes"], 1);
    assert!(growing["selections"].as_u64().unwrap() > 1, "{growing}");
    // The same again reads everything from disk, and knows its own methods there.
    let again = succeed(&words);
    assert_eq!(
        again.stderr.matches("complete, not run again").count(),
        3,
        "{}",
        again.stderr
    );
    let [report] = &reports_in(Path::new(out), "c4")[..] else {
        panic!("one report of the same runs")
    };
    let report = &fs::read_to_string(report.join("report.md")).unwrap();
    for method in METHODS.split(',') {
        let planned = planned(report, method);
        let ratio: f64 = planned[8].parse().unwrap_or_else(|_| panic!("{planned:?}"));
        assert!((0.5..1.5).contains(&ratio), "{method}: {planned:?}");
    }
    let losses = |result: &Value| {
        (
            result["untrained"]["loss"].as_f64(),
            result["last"]["loss"].as_f64(),
        )
    };
    for result in [&signum, &growing] {
        let (before, after) = losses(result);
        assert!(after < before, "{result}");
    }
}

#[test]
fn a_killed_run_of_an_own_policy_or_optimizer_goes_on_to_the_same_numbers() {
    let data = c4_folder();
    for (method, name) in [
        (
            "fastest-growing:0.9+patience=3",
            "fastest-growing-0.9-patience-3-0",
        ),
        ("signum", "signum-0"),
    ] {
        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let words = |out| {
            let words = "c4 --steps 16 --checkpoint-every 2 --data";
            let words = words
                .split(' ')
                .chain([text(data.path()), "--methods", method, "--out", out]);
            words.collect::<Vec<_>>()
        };
        succeed(&words(text(whole.path())));
        let (stdout, stderr) = (Stdio::null(), Stdio::null());
        let mut child = program(&words(text(killed.path())))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let c4 = killed.path().join("c4");
        wait_for_records(&c4, 6);
        child.kill().unwrap();
        child.wait().unwrap();
        let run = run_in(&c4, name);
        assert!(!run.join("result.json").exists(), "it was killed too late");
        let resumed = succeed(&words(text(killed.path())));
        assert!(
            resumed.stderr.contains("going on after step"),
            "{}",
            resumed.stderr
        );
        let undisturbed = run_in(&whole.path().join("c4"), name);
        assert_eq!(curve_of(&run), curve_of(&undisturbed), "{method}");
        let weights = |run: &Path| fs::read(run.join("checkpoints/step-16/model.safetensors")).unwrap();
        assert!(weights(&run) == weights(&undisturbed), "{method}");
    }
}

#[test]
fn an_own_optimizer_trains_layer_by_layer_too() {
    let (data, out) = (c4_folder(), tempfile::tempdir().unwrap());
    let out = text(out.path());
    let base = [
        "c4",
        "--steps",
        "4",
        "--methods",
        "signum",
        "--data",
        text(data.path()),
        "--out",
        out,
    ];
    for backward in ["whole", "layer-wise"] {
        succeed(&[&base[..], &["--backward", backward]].concat());
    }
    let runs = runs_in(&Path::new(out).join("c4"), "signum-0");
    let [one, other] = &runs[..] else {
        panic!("{runs:?}")
    };
    let loss = |run: &Path| result_of(run)["last"]["loss"].as_f64().unwrap();
    assert!(
        (loss(one) - loss(other)).abs() < 1e-3,
        "{} {}",
        loss(one),
        loss(other)
    );
}

#[test]
fn a_wrong_setting_of_an_own_method_is_told_as_one_of_ours_is_and_help_has_the_right_ones() {
    for (method, parts) in [
        ("signum:2", ["the beta 2 is outside [0, 1)", "signum:2"]),
        ("signum+gap=3", ["no setting `gap`; it has beta", "signum+gap=3"]),
        (
            "signom",
            ["there are adamw, lora", "all, fastest-growing, signum;"],
        ),
    ] {
        let ended = run(&["c4", "--methods", method]);
        assert_ne!(ended.code, Some(0));
        for part in parts {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
    let help = succeed(&["--help"]).stdout;
    for part in [
        "Settings of signum, as NAME+KEY=VALUE:",
        "Settings of fastest-growing",
        "beta=X",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
