//! Selections fire in a run and are told; what is outside the mask keeps its bits until the next one.
use crate::batches::padded;
use crate::training::{constant, tiny_llama};
use crate::weights::{changed, weights};
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::optim::SelectionEvent;
use blockllm::prelude::*;
use blockllm::train::{LanguageModeling, MemoryMeter, Method, Objective, Record, RunFolder, Setup, train};
use burn::tensor::Device;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Trains at a rate so low that the loss hardly falls, into a run folder, and reads back what the folder tells.
fn stalling_run(folder: &Path) -> Vec<Record> {
    let batches = [0, 2, 4, 6, 8].map(|salt| padded(&[16, 12], 16, salt));
    let device = Device::flex().autodiff();
    let meter = MemoryMeter::start(&device);
    let model = tiny_llama().init(0, &device);
    let config = constant(30, 1e-5);
    let method = Method::parse("blockllm:0.8").unwrap().with_patience(4);
    let setup = Setup {
        objective: &LanguageModeling::default(),
        method: &method,
        config: &config,
        validation: &batches[..1],
        device: &device,
    };
    let mut folder = RunFolder::new(folder);
    folder.start(&config, &"no data files").unwrap();
    let mut circle = batches.iter().cycle().cloned();
    train(&setup, model, || Ok(circle.next().unwrap()), meter, &mut folder).unwrap();
    folder.records().unwrap()
}

fn events(records: &[Record]) -> Vec<SelectionEvent> {
    let event = |record: &Record| match record {
        Record::Selection(event) => Some(event.clone()),
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

#[test]
fn a_stalled_loss_makes_blockllm_select_again_and_the_log_tells_step_reason_and_blocks_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    let records = stalling_run(folder.path());
    let events = events(&records);
    assert_eq!(
        (events[0].reason, events[0].step, events[0].number),
        (Reason::First, 0, 1)
    );
    assert!(
        events.len() > 2,
        "only {} selections in 30 stalled steps",
        events.len()
    );
    for (earlier, later) in events.iter().zip(&events[1..]) {
        assert_eq!(
            (later.reason, later.number),
            (Reason::LossStalled, earlier.number + 1)
        );
        assert!(
            later.step >= earlier.step + 5,
            "patience 4 needs 4 losses and one more: {later:?}"
        );
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let kept = &set(&earlier.blocks) - &set(&later.left);
        assert_eq!(&kept | &set(&later.entered), set(&later.blocks));
        assert!(set(&later.entered).is_disjoint(&set(&earlier.blocks)));
        assert!(set(&later.left).is_subset(&set(&earlier.blocks)));
    }
    let moved = events
        .iter()
        .skip(1)
        .any(|event| !event.entered.is_empty() && !event.left.is_empty());
    assert!(moved, "no selection brought in another block: {events:?}");
}

#[test]
fn a_selection_stands_in_the_log_before_the_first_step_that_trains_it() {
    let folder = tempfile::tempdir().unwrap();
    let records = stalling_run(folder.path());
    let pairs = records.iter().zip(&records[1..]);
    let steps_after = pairs.filter_map(|pair| match pair {
        (Record::Selection(event), Record::Step(step)) => {
            Some((event.step, step.step, event.trained_entries, step.trained_entries))
        }
        (Record::Selection(event), other) => panic!("{event:?} is followed by {other:?}"),
        _ => None,
    });
    for (decided_after, first_step, announced, trained) in steps_after {
        assert_eq!(first_step, decided_after + 1);
        assert_eq!(trained, announced);
    }
    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(
        text.contains(r#""kind":"selection""#) && text.contains(r#""reason":"loss-stalled""#),
        "{text}"
    );
}

/// The entries that may change until the next selection, as the first step after the last one showed them.
#[derive(Default)]
struct Mask {
    blocks: BTreeSet<String>,
    entries: BTreeMap<String, BTreeSet<usize>>,
}

#[test]
fn entries_outside_the_mask_keep_their_bits_between_two_selections() {
    let device = Device::flex().autodiff();
    let batches = [0, 2, 4].map(|salt| padded(&[16, 12], 16, salt));
    let mut model = tiny_llama().init(0, &device);
    // Tokens that a batch lacks give their embeddings gradients of zero, whose entries a mask may keep but not move.
    let config = BlockOptimizerConfig::new(0.8).with_roles(Roles {
        always: vec![],
        never: vec!["embed_tokens".into()],
    });
    let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::new(3).unwrap()).unwrap();
    let budget = optimizer.selector().budget().trained_entries();
    let (mut mask, mut selections) = (Mask::default(), 0);
    let mut before = weights(&model);
    for step in 1..=30 {
        let batch = &batches[step % 3];
        let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, batch, &device);
        model = optimizer.prepare(model, loss_of).unwrap();
        let loss = loss_of(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, 1e-3).unwrap().model;
        optimizer.observe(loss.into_scalar::<f32>()).unwrap();
        let after = weights(&model);
        let changed = changed(&before, &after);
        let is_new = optimizer.take_selection_event().is_some();
        if is_new {
            selections += 1;
            mask = Mask {
                blocks: optimizer
                    .selected_blocks()
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                entries: changed.clone(),
            };
        }
        assert!(
            changed.keys().all(|path| mask.blocks.contains(path)),
            "step {step}: {:?}",
            changed.keys()
        );
        assert_eq!(optimizer.trained_entries(), budget, "step {step}");
        let entries =
            |changed: &BTreeMap<String, BTreeSet<usize>>| changed.values().map(BTreeSet::len).sum::<usize>();
        // The mask keeps the largest gradients, so the first step moves every entry of it.
        assert!(
            !is_new || entries(&changed) as u64 == budget,
            "step {step}: {} of {budget}",
            entries(&changed)
        );
        for (path, positions) in &changed {
            assert!(
                positions.is_subset(&mask.entries[path]),
                "step {step}: {path} changed outside the mask"
            );
        }
        before = after;
    }
    assert!(selections > 2, "{selections} selections in 30 steps");
}
