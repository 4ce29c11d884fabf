//! What a checkpoint holds: what training changed, and of all else only what tells whether it is still the same.
use crate::resumption::{STEPS, plain, run_on};
use crate::training::tiny_llama;
use blockllm::train::Checkpoints;
use burn::tensor::Device;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The parameters in the checkpoint of `step`, and those that it left out.
fn contents(folder: &Path, step: u64) -> (BTreeSet<String>, BTreeSet<String>) {
    let checkpoint = folder.join(format!("checkpoints/step-{step}"));
    let bytes = std::fs::read(checkpoint.join("model.safetensors")).unwrap();
    let held = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let held = held.names().into_iter().map(ToOwned::to_owned).collect();
    let base = std::fs::read_to_string(checkpoint.join("base.json")).unwrap();
    let base: BTreeMap<String, String> = serde_json::from_str(&base).unwrap();
    (held, base.into_keys().collect())
}

/// A run that its data end after `steps`, with a checkpoint after the fourth.
fn stopped_at(folder: &Path, method: &'static str, steps: u64, checkpoints: &Checkpoints) -> String {
    let stopped = run_on(&Device::flex(), 0, folder, &plain(method), checkpoints, steps);
    stopped.unwrap_err().to_string()
}

#[test]
fn a_frozen_base_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    stopped_at(folder.path(), "lora:2", 5, &Checkpoints::new(folder.path(), 4));
    let (held, base) = contents(folder.path(), 4);
    assert!(
        held.iter().any(|path| path.contains("proj.weight.lora.")),
        "{held:?}"
    );
    assert!(!held.iter().any(|path| path.ends_with("proj.weight")), "{held:?}");
    let adapted = base.iter().filter(|path| path.ends_with("proj.weight")).count();
    assert_eq!(adapted, 7 * tiny_llama().num_hidden_layers, "{base:?}");
}

#[test]
fn blocks_that_were_never_selected_are_not_written_unless_the_best_weights_are_kept() {
    let paths = tiny_llama()
        .parameter_shapes()
        .into_iter()
        .map(|shape| shape.path);
    let paths: BTreeSet<String> = paths.collect();
    for keeps_best in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path(), 4).keeping_the_best(keeps_best);
        stopped_at(folder.path(), "blockllm:0.95", 5, &checkpoints);
        let (held, base) = contents(folder.path(), 4);
        assert_eq!(held.union(&base).cloned().collect::<BTreeSet<_>>(), paths);
        assert!(
            !held.is_empty() && base.is_empty() == keeps_best,
            "{held:?} and {base:?}"
        );
    }
}

#[test]
fn a_run_whose_model_begins_as_another_one_is_refused() {
    for method in ["lora:2", "blockllm:0.95"] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path(), 4);
        stopped_at(folder.path(), method, 5, &checkpoints);
        let message = run_on(
            &Device::flex(),
            1,
            folder.path(),
            &plain(method),
            &checkpoints,
            STEPS,
        )
        .unwrap_err()
        .to_string();
        assert!(
            message.contains("training had not changed") && message.contains("model.safetensors"),
            "{message}"
        );
        run_on(
            &Device::flex(),
            0,
            folder.path(),
            &plain(method),
            &checkpoints,
            STEPS,
        )
        .unwrap();
    }
}

#[test]
fn a_base_file_that_was_edited_makes_the_checkpoint_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), 2);
    stopped_at(folder.path(), "lora:2", 5, &checkpoints);
    let base = folder.path().join("checkpoints/step-4/base.json");
    std::fs::write(&base, "{}").unwrap();
    let mut told = Vec::new();
    let newest = Checkpoints::new(folder.path(), 2)
        .newest_whole(&mut |text| told.push(text.to_owned()))
        .unwrap();
    assert_eq!(newest, Some(2));
    assert!(told[0].contains("base.json"), "{told:?}");
}
