//! Tests of what methods that train blocks plan: the selection, its masks, whose gradients are made beside it, and the state.
use crate::memory::MemoryPlan;
use crate::memory::plan::{Assumed, ModelShape, ParameterState, Part, PlannedStep, StatePlace, Workload};
use crate::method::Method;
use crate::method::testing::{
    FULL, HALF, parameter, parameters, plan, planned, planned_state, planned_with, state_bytes,
};
use blockllm_model::ParameterKind;
use blockllm_model::llama::LlamaConfig;
use std::collections::BTreeMap;

const UP: &str = "model.layers.1.mlp.up_proj.weight";

#[test]
fn a_selection_is_spread_over_the_model_until_the_budget_is_met_and_masked_down_to_it() {
    // 30 % of 164 entries are 50: the 32 of the second layer's matrix, and the table's 48 with them.
    let scheme = planned("blockllm:0.7");
    assert_eq!(scheme.selected, [0, 3]);
    // The same share of both, rounded up: 50 / 80.
    assert_eq!(scheme.kept, BTreeMap::from([(0, 30), (3, 20)]));
    assert_eq!((scheme.selected_entries(), scheme.kept_entries()), (80, 50));
    assert!(scheme.always.is_empty() && scheme.scratch.is_empty());
    // Two moments and an index each.
    assert_eq!(state_bytes("blockllm:0.7", &scheme), 50 * (8 + 4));
}

#[test]
fn rows_that_no_token_names_are_masked_out_first() {
    let method = Method::parse("blockllm:0.7").unwrap().algorithm;
    let kept = |tokens, is_tied| {
        let step = PlannedStep {
            assumed: &Assumed::Typical,
            tokens,
            is_tied,
        };
        let scheme = method.plan(parameters(), &step).unwrap();
        [0_usize, 3].map(|param| scheme.kept[&param])
    };
    // Two tokens name 8 of the table's 48 entries: with the matrix's 32 they are fewer than 50, and 10 of the others follow.
    assert_eq!(kept(2, false), [8 + 10, 32]);
    // Eleven name 44: 50 / 76 of both.
    assert_eq!(kept(11, false), [29, 22]);
    assert_eq!(kept(2, true), [30, 20]);
}

#[test]
fn at_the_worst_the_largest_block_crosses_the_budget() {
    let method = Method::parse("blockllm:0.7").unwrap();
    let scheme = plan(&method, parameters(), &Assumed::Worst).unwrap();
    // The head takes 48 of the 50, and the table, no smaller than any other, is there to take the rest.
    assert_eq!(scheme.selected, [0, 6]);
    assert_eq!(scheme.kept, BTreeMap::from([(0, 25), (6, 25)]));
}

#[test]
fn what_is_always_trained_takes_its_entries_off_the_budget_and_what_is_never_trained_has_none() {
    // Half of 164 entries, less the head's 48, are 34: enough for all of the matrix.
    let always = planned_with("blockllm:0.5+always=lm_head", UP);
    assert_eq!((&*always.selected, &*always.always), (&[3][..], &[6][..]));
    assert_eq!(always.kept, BTreeMap::from([(3, 32)]));
    // A tenth of the 116 that are not the head's.
    let never = planned_with("blockllm:0.9+never=lm_head", UP);
    assert_eq!((never.kept_entries(), &*never.probed), (12, &[0, 1][..]));
}

#[test]
fn gradients_are_made_of_probes_and_of_what_the_inactive_rule_moves() {
    let probed = |settings: &str| planned_with(&format!("blockllm:0.7{settings}"), UP).probed;
    // Each has its turn, so that the largest are meant.
    assert_eq!(probed(""), [0, 6]);
    assert_eq!(probed("+probes=3"), [0, 6, 1]);
    assert_eq!(probed("+probes=0"), [0; 0]);
    assert_eq!(probed("+probes=0+measured=passed"), [4, 5, 6]);
    assert_eq!(probed("+inactive=0.1"), [0, 1, 2, 4, 5, 6]);
    assert_eq!(probed("+probes=0+inactive=0.1+reach=above"), [4, 5, 6]);
    // No gradient is measured by a policy that draws.
    assert_eq!(planned("random:0.7").probed, [0; 0]);
}

#[test]
fn a_first_measurement_unfreezes_blocks_in_groups() {
    let sweep = |text: &str| planned(text).sweep;
    assert_eq!(sweep("blockllm:0.7"), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
    assert_eq!(sweep("blockllm:0.7+sweep=full"), [[0, 1, 2, 3, 4, 5, 6]]);
    let layers = sweep("blockllm:0.7+partition=decoder-layer+sweep=2");
    assert_eq!(layers, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert!(sweep("random:0.7").is_empty());
}

#[test]
fn state_is_that_of_the_trained_entries_of_the_rule_in_its_precision() {
    let matrix = parameter(UP, &[64, 128], ParameterKind::Linear);
    let state =
        |settings: &str, kept, place| planned_state(&format!("blockllm:0.9{settings}"), &matrix, kept, place);
    let arrays = |count: u64| {
        let moments = ParameterState::default().with(Part::Moments, count * 4 * 1000);
        moments.with(Part::Indices, 4 * 1000)
    };
    assert_eq!(state("", 1000, FULL), arrays(2));
    for rule in ["+rule=lion", "+rule=sgd"] {
        assert_eq!(state(rule, 1000, FULL), arrays(1), "{rule}");
    }
    // Fewer than 4,096 stay in f32; of 8,192 each 256 have a byte each and a scale of 4.
    assert_eq!(state("+state=int8", 1000, FULL), arrays(2));
    let coded = ParameterState::default().with(Part::Moments, 2 * 32 * (256 + 4));
    assert_eq!(state("+state=int8", 8192, FULL), coded);
    // Recovery computes with six arrays over all entries where some are masked out.
    assert_eq!(
        state("+recovery=1.01", 1000, FULL),
        arrays(2).with_update(6 * 4 * 8192)
    );
    assert_eq!(state("+recovery=1.01", 8192, FULL).update, 0);
}

#[test]
fn trained_entries_in_half_precision_have_masters_unless_they_are_rounded() {
    let matrix = parameter(UP, &[64, 128], ParameterKind::Linear);
    let state =
        |settings: &str, place| planned_state(&format!("blockllm:0.9{settings}"), &matrix, 1000, place);
    let masters = |settings: &str, place| state(settings, place).bytes.of(Part::Masters);
    assert_eq!(masters("", HALF), 4 * 1000);
    assert_eq!(masters("", FULL), 0);
    for half in ["+half=nearest", "+half=stochastic"] {
        assert_eq!(masters(half, HALF), 0, "{half}");
    }
    // On the host the gradient is read in f32.
    let on_host = StatePlace {
        on_host: true,
        ..HALF
    };
    let updates = [HALF, on_host].map(|place| state("", place).update);
    assert_eq!(updates, [0, 4 * 8192]);
}

#[test]
fn without_a_mask_blocks_are_planned_whole_within_the_budget_or_one_alone() {
    // Two tables of 3,072 entries, eight matrices of 1,024 and six of 1,280, five vectors of 32: 22,176.
    let model = ModelShape::Llama(LlamaConfig::new(96, 32, 40, 2, 4));
    let trained = |name: &str, selection: Assumed| {
        let method = Method::parse(name).unwrap();
        let plan = MemoryPlan::estimate(&Workload {
            selection,
            ..Workload::new(&model, &method, 1, 8)
        });
        let plan = plan.unwrap();
        let [moments, indices] = [Part::Moments, Part::Indices].map(|part| plan.most.of(part));
        assert_eq!((moments, indices), (8 * plan.trained_entries, 0), "{name}");
        plan.trained_entries
    };
    for (name, typical, worst) in [
        ("blockllm:0.9+mask=none", 1280 + 5 * 32, 3072),
        ("official-compat:0.9", 1280 + 5 * 32, 3072),
        ("blockllm:0.5+mask=none", 11_072, 11_072),
    ] {
        assert_eq!(trained(name, Assumed::Typical), typical, "{name}");
        assert_eq!(trained(name, Assumed::Worst), worst, "{name}");
    }
}

#[test]
fn a_plan_says_what_does_not_fit_the_model() {
    let model = ModelShape::Llama(LlamaConfig::new(96, 32, 40, 2, 4).with_tie_word_embeddings(true));
    let method = Method::parse("blockllm:0.9+always=lm_head").unwrap();
    let error = MemoryPlan::estimate(&Workload::new(&model, &method, 1, 8)).unwrap_err();
    assert!(error.to_string().contains("lm_head"), "{error}");
}
