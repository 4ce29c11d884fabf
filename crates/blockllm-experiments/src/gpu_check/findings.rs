//! What the checks found: a table per topic, the page, and the numbers that another build is compared with.
use crate::report::atomic::write_atomically;
use crate::report::{Align, Table};
use anyhow::{Context, Result};
use blockllm_train::DeviceChoice;
use blockllm_train::tell_line;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Two builds round in another order.
const LOSS_TOLERANCE: f64 = 1e-2;

/// All findings, in the order they were made.
pub(super) struct Findings {
    build: &'static str,
    device: Option<String>,
    topics: Vec<(String, Table)>,
    left_out: Vec<(String, String)>,
    failures: usize,
}

impl Findings {
    pub(super) fn new(build: &'static str) -> Self {
        Self {
            build,
            device: None,
            topics: Vec::new(),
            left_out: Vec::new(),
            failures: 0,
        }
    }

    /// Says which device is checked.
    pub(super) fn device(&mut self, device: &str) {
        self.device = Some(device.to_owned());
    }

    /// A line under `topic`: what was checked, and what was seen or what is wrong.
    pub(super) fn add(&mut self, topic: &str, what: &str, result: Result<String, String>) {
        let (verdict, detail) = match result {
            Ok(detail) => ("passed", detail),
            Err(detail) => {
                self.failures += 1;
                ("FAILED", detail)
            }
        };
        tell_line!("{topic}: {what}: {verdict}, {detail}");
        self.row(topic, [what, verdict, &detail]);
    }

    /// A line that is neither right nor wrong.
    pub(super) fn tell(&mut self, topic: &str, what: &str, detail: &str) {
        tell_line!("{topic}: {what}: {detail}");
        self.row(topic, [what, "", detail]);
    }

    fn row(&mut self, topic: &str, cells: [&str; 3]) {
        let place = self.topics.iter().position(|(name, _)| name == topic);
        let place = place.unwrap_or_else(|| {
            let columns = [("what", Align::Left), ("", Align::Left), ("seen", Align::Left)];
            self.topics.push((topic.to_owned(), Table::new(columns)));
            self.topics.len() - 1
        });
        // A message of a compiler may have lines and bars of its own.
        let cells = cells.map(|cell| cell.replace(['\n', '|'], " "));
        self.topics[place].1.push_row(cells);
    }

    /// Says what was not checked, and why.
    pub(super) fn left_out(&mut self, what: &str, why: &str) {
        tell_line!("{what}: left out, {why}");
        self.left_out.push((what.to_owned(), why.to_owned()));
    }

    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    /// Holds this build's numbers against those of the other one, where both ran into the same folder.
    pub(super) fn compare_builds(&mut self, out: &Path) -> Result<()> {
        let topic = "Fused against unfused";
        let [Some(fused), Some(unfused)] = [Numbers::read(out, "fused")?, Numbers::read(out, "unfused")?]
        else {
            let why = "run a build with the feature `gpu-tuned` and one without it into the same --out";
            self.left_out(topic, why);
            return Ok(());
        };
        for (method, expected) in &unfused.losses {
            let found = fused.losses.get(method).map_or(&[][..], Vec::as_slice);
            self.add(topic, method, close(found, expected, LOSS_TOLERANCE));
        }
        for (case, unfused_ms) in &unfused.step_ms {
            if let Some(ms) = fused.step_ms.get(case) {
                self.tell(
                    topic,
                    case,
                    &format!("{ms:.1} ms a step fused, {unfused_ms:.1} ms unfused"),
                );
            }
        }
        Ok(())
    }

    pub(super) fn to_markdown(&self) -> String {
        let device = self.device.as_deref().unwrap_or("none");
        let mut text = format!(
            "# GPU check\n\nDevice: {device}. Build: {}. Version {}. {}.\n",
            self.build,
            env!("CARGO_PKG_VERSION"),
            match self.failures {
                0 => "No check failed".to_owned(),
                failures => format!("{failures} checks FAILED"),
            }
        );
        for (topic, table) in &self.topics {
            let _ = write!(text, "\n## {topic}\n\n{}", table.to_markdown());
        }
        if !self.left_out.is_empty() {
            text.push_str("\n## Left out\n\n");
        }
        for (what, why) in &self.left_out {
            let _ = writeln!(text, "- {what}: {why}");
        }
        text
    }
}

/// What one build measured, kept beside the page.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// Losses of a few steps, by method.
    pub losses: BTreeMap<String, Vec<f64>>,
    /// Milliseconds of a step, by model and method.
    pub step_ms: BTreeMap<String, f64>,
}

impl Numbers {
    pub(super) fn write(&self, out: &Path, build: &str) -> Result<()> {
        if self.losses.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(self)?;
        Ok(write_atomically(&out.join(file(build)), &text)?)
    }

    fn read(out: &Path, build: &str) -> Result<Option<Self>> {
        let path = out.join(file(build));
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)?;
        let numbers =
            serde_json::from_str(&text).with_context(|| format!("{}: delete it", path.display()))?;
        Ok(Some(numbers))
    }
}

fn file(build: &str) -> String {
    format!("gpu-check-{build}.json")
}

/// flex, where this binary has it and it is not the device itself.
pub(super) fn flex_beside(device: &Device) -> Option<Device> {
    let flex = DeviceChoice::Flex.open().ok()?;
    (flex != *device).then_some(flex)
}

/// Whether no number differs by more than `allowed` times the largest: the worst difference, or what is wrong.
pub(super) fn close(found: &[f64], expected: &[f64], allowed: f64) -> Result<String, String> {
    if found.len() != expected.len() {
        return Err(format!("{} numbers, not {}", found.len(), expected.len()));
    }
    let largest = expected
        .iter()
        .fold(1e-3_f64, |largest, number| largest.max(number.abs()));
    let mut worst = 0.0_f64;
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs() / largest;
        // What is no number is no agreement.
        if difference > allowed || difference.is_nan() {
            return Err(format!(
                "number {place} is {found}, not {expected} (of at most {largest})"
            ));
        }
        worst = worst.max(difference);
    }
    Ok(format!(
        "{} numbers, worst difference {worst:.1e}",
        expected.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_too_far_is_no_agreement() {
        assert!(close(&[1.0, 2.0], &[1.0, 2.001], 1e-2).is_ok());
        assert!(close(&[1.0, f64::NAN], &[1.0, 2.0], 1e-2).is_err());
        assert!(close(&[1.0], &[1.0, 2.0], 1e-2).is_err());
        assert!(close(&[1.1], &[1.0], 1e-2).is_err());
    }

    #[test]
    fn a_failure_is_counted_and_a_page_has_its_line() {
        let mut findings = Findings::new("fused");
        findings.add("Kernels", "rms_norm", Err("a | b\nc".into()));
        findings.left_out("Speed", "no GPU is here");
        let page = findings.to_markdown();
        assert_eq!(findings.failures(), 1);
        assert!(
            page.contains("1 checks FAILED") && page.contains("a   b c"),
            "{page}"
        );
        assert!(page.contains("- Speed: no GPU is here"), "{page}");
    }

    #[test]
    fn two_builds_are_compared_once_both_have_run() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = |loss| Numbers {
            losses: [("adamw".to_owned(), vec![loss])].into(),
            step_ms: BTreeMap::new(),
        };
        numbers(2.0).write(folder.path(), "unfused").unwrap();
        let mut alone = Findings::new("unfused");
        alone.compare_builds(folder.path()).unwrap();
        assert!(alone.to_markdown().contains("Fused against unfused: run a build"));
        numbers(3.0).write(folder.path(), "fused").unwrap();
        let mut both = Findings::new("fused");
        both.compare_builds(folder.path()).unwrap();
        assert_eq!(both.failures(), 1);
    }
}
