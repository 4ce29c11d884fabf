//! The laws table: every method x every law of ALGORITHM x every backend, in one test.
mod cases;
mod session;
mod table;

use blockllm::train::Methods;
use cases::{Case, cases};
use std::panic::{AssertUnwindSafe, catch_unwind};
use table::{LAWS, LEFT_BY_ANOTHER, Outcome, left_after_learning};

/// Runs the table on one device, prints it, and fails with every cell that does not hold.
fn assert_laws(backend: &str, device: &burn::tensor::Device) {
    let mut broken = Vec::new();
    for case in cases() {
        if let Err(why) = case.weights.cast(case.model().init(0, device)) {
            println!("{backend:5} {:44} not on this device: {why}", case.name);
            continue;
        }
        let mut row = Vec::new();
        for (law, holds) in LAWS {
            match catch_unwind(AssertUnwindSafe(|| holds(&case, device))) {
                Ok(Outcome::Holds) => row.push("holds"),
                Ok(Outcome::Instead(what)) => row.push(what),
                Err(panic) => {
                    row.push("BROKEN");
                    let why = panic.downcast_ref::<String>().cloned();
                    let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    broken.push(format!(
                        "{backend}, {}, {law}: {}",
                        case.name,
                        why.unwrap_or_default()
                    ));
                }
            }
        }
        println!("{backend:5} {:44} {}", case.name, row.join(" | "));
    }
    assert!(
        broken.is_empty(),
        "{} cells are broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn every_method_passes_every_law_on_flex() {
    assert_laws("flex", &burn::tensor::Device::flex());
}

#[cfg(feature = "wgpu")]
#[test]
fn every_method_passes_every_law_on_wgpu() {
    let device = burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    assert_laws("wgpu", &device);
}

#[test]
fn what_is_learned_of_another_batch_does_not_pass_the_law() {
    for case in cases() {
        let left = left_after_learning(&case, &burn::tensor::Device::flex(), 1);
        assert!(
            left > LEFT_BY_ANOTHER,
            "{}: {left} of the loss is left",
            case.name
        );
    }
}

#[test]
fn the_table_has_every_method_that_the_command_line_knows() {
    let names: Vec<String> = cases().iter().map(|case| case.name.clone()).collect();
    for name in Methods::built_in().names() {
        let is_row = |row: &String| row == name || row.starts_with(&format!("{name}:"));
        assert!(names.iter().any(is_row), "{name} is in no row");
    }
}

/// How a case is asked for, so that a failure can be run again by hand.
impl std::fmt::Debug for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}
