//! Tests of methods that train blocks: names, what a run and fine-tuning change, rates, changes that save memory, optimizers.
#![cfg(test)]

mod plan;
mod settings;

use super::BlockMethod;
use crate::memory::plan::Change;
use crate::method::testing::{
    assert_method_not_made, assert_not_made, assert_sparsities, fine_tuned, for_run, heeded, named,
    optimizer, planned, rates, with_patience,
};
use crate::method::{FineTuning, LearningRates, Method};
use blockllm_optim::{MaskScore, MaskThreshold, NormKind, Recovery, SweepMode};
use blockllm_policy::{All, BlockLlmSettings, PolicyConfig, RandomSettings};

/// `blockllm` at `sparsity`, of this patience.
fn blockllm(sparsity: f64, patience: usize) -> BlockMethod {
    BlockMethod::new(PolicyConfig::BlockLlm(BlockLlmSettings { patience }), sparsity)
}

#[test]
fn the_number_is_the_sparsity_and_95_percent_without_one_where_not_all_is_taken() {
    assert_eq!(named::<BlockMethod>("blockllm:0.5"), blockllm(0.5, 100));
    assert_eq!(named::<BlockMethod>("blockllm"), blockllm(0.95, 100));
    let random = RandomSettings {
        interval: 100,
        blocks: None,
        unbiased: false,
    };
    let random = BlockMethod::new(PolicyConfig::Random(random), 0.9);
    assert_eq!(named::<BlockMethod>("random:0.9"), random);
    let all = BlockMethod::new(PolicyConfig::All(All), 0.0);
    assert_eq!(named::<BlockMethod>("all"), all);
    assert_sparsities("blockllm");
}

#[test]
fn all_at_sparsity_0_trains_everything_and_is_what_others_are_compared_with() {
    let told = |text: &str| {
        let method = Method::parse(text).unwrap().algorithm;
        (method.trains_all(), method.is_baseline())
    };
    assert_eq!(told("all"), (true, true));
    for text in ["all:0.5", "blockllm:0", "badam", "blockllm-sgd"] {
        assert_eq!(told(text), (false, false), "{text}");
    }
    assert_eq!(["galore:4", "apollo-mini"].map(told), [(true, false); 2]);
}

#[test]
fn it_takes_what_a_run_sets_for_all_its_methods_unless_the_name_says_otherwise() {
    let expected = BlockMethod {
        partition: "module".into(),
        always: vec!["score".into()],
        never: vec!["model.norm".into()],
        norm: NormKind::Grad,
        probes: 7,
        ..blockllm(0.9, 40)
    };
    assert_eq!(for_run::<BlockMethod>("blockllm:0.9"), expected);
    let all = "blockllm:0.9+partition=tensor+always=lm_head+never=bias+norm=rms+probes=1+patience=7";
    let of_the_name = BlockMethod {
        partition: "tensor".into(),
        always: vec!["lm_head".into()],
        never: vec!["bias".into()],
        norm: NormKind::Rms,
        probes: 1,
        ..blockllm(0.9, 7)
    };
    assert_eq!(for_run::<BlockMethod>(all), of_the_name);
    assert_eq!(with_patience::<BlockMethod>("blockllm:0.9"), blockllm(0.9, 40));
}

#[test]
fn what_only_a_sparsity_gives_a_meaning_is_not_heeded_without_one() {
    let all = ["always", "never", "norm", "partition", "probes"];
    assert_eq!(heeded("blockllm:0.9"), all);
    assert_eq!(heeded("blockllm:0"), ["never"]);
    let expected = BlockMethod {
        never: vec!["model.norm".into()],
        ..blockllm(0.0, 40)
    };
    assert_eq!(for_run::<BlockMethod>("blockllm:0"), expected);
}

#[test]
fn fine_tuning_changes_nothing_of_a_method_that_moves_no_masked_out_entries() {
    for parts in [FineTuning::language_model(), FineTuning::encoder(Vec::new())] {
        for text in ["blockllm:0.95", "blockllm:0.95+inactive=0.3+embedding-rate=7"] {
            let tuned = fine_tuned::<BlockMethod>(text, &parts);
            assert_eq!(tuned, named::<BlockMethod>(text), "{text}");
        }
    }
}

#[test]
fn sparse_ones_have_higher_learning_rates() {
    let sparse = LearningRates {
        pretraining: 3e-3,
        classifiers: 3e-4,
        language_models: 1e-4,
        from_scratch: 5e-3,
        published: Some(3e-5),
        published_instructions: Some(1e-5),
    };
    for text in ["blockllm:0.95", "random:0.8", "blockllm:0.8+inactive=0.1"] {
        assert_eq!(rates(text), sparse, "{text}");
    }
    assert_eq!(rates("blockllm:0.79"), rates("adamw"));
}

#[test]
fn milder_changes_save_memory_and_harsher_ones_train_less_at_a_time() {
    let milder = |text: &str, half, clipped| {
        let method = Method::parse(text).unwrap().algorithm;
        method.milder_changes(half, clipped)
    };
    let all = [
        Change::Setting("state", "int8"),
        Change::Setting("half", "stochastic"),
        Change::NoClipping,
        Change::Setting("mask", "per-parameter"),
    ];
    assert_eq!(milder("blockllm:0.9", true, true), all);
    let made = "blockllm:0.9+state=int8+half=nearest+mask=none";
    assert!(milder(made, true, false).is_empty());
    let harsher = |text: &str| Method::parse(text).unwrap().algorithm.harsher_changes();
    let higher = [0.95, 0.98, 0.99].map(Change::Sparsity);
    assert_eq!(harsher("blockllm:0.9"), higher);
    assert!(harsher("blockllm:0.99").is_empty());
    assert_eq!(harsher("all:0.5"), [Change::Method("blockllm:0.95".into())]);
    assert!(harsher("badam").is_empty());
}

#[test]
fn a_step_that_makes_masks_waits_for_all_gradients_where_they_are_ranked_together() {
    let waits = |text: &str| {
        let (method, scheme) = (Method::parse(text).unwrap().algorithm, planned(text));
        [true, false].map(|is_first| method.waits_for_all(&scheme, is_first))
    };
    for (settings, expected) in [
        ("", [true, false]),
        ("+refresh=each-step", [true, true]),
        ("+mask=per-parameter", [false, false]),
        ("+mask=per-parameter+threshold=4096", [true, false]),
        ("+mask=none", [false, false]),
    ] {
        assert_eq!(waits(&format!("blockllm:0.9{settings}")), expected, "{settings}");
    }
    assert_eq!(waits("all"), [false, false]);
}

#[test]
fn its_optimizer_has_the_blocks_of_its_partition() {
    let names = |text: &str| {
        let made = optimizer(&Method::parse(text).unwrap()).unwrap();
        made.block_names()
    };
    assert_eq!(names("blockllm:0.9").len(), 21);
    let modules = names("blockllm:0.9+partition=module");
    assert_eq!(
        modules[..2],
        ["model.embed_tokens", "model.layers.0.self_attn.q_proj"]
    );
    assert_eq!(names("blockllm:0.9+partition=decoder-layer").len(), 5);
}

#[test]
fn what_does_not_fit_a_model_is_refused_by_plan_and_optimizer() {
    for (settings, told) in [
        ("always=heads", "the role pattern `heads` matches none of the"),
        ("always=model", "lower the sparsity or train fewer blocks always"),
        ("decay=all+weight-decay=0", "`decay` is all"),
        ("never=norms", "modules are called embed_tokens, q_proj"),
    ] {
        assert_not_made(&format!("blockllm:0.9+{settings}"), told);
    }
}

#[test]
fn what_is_out_of_its_range_is_refused_by_plan_and_optimizer_where_no_name_gives_it() {
    type Edit = fn(&mut BlockMethod);
    let edits: [(Edit, &str); 8] = [
        (
            |blocks| blocks.partition = "layers".into(),
            "`partition` is layers: use tensor, module or",
        ),
        (
            |blocks| blocks.policy = blockllm(0.9, 0).policy,
            "`patience` is 0: use 1 or more",
        ),
        (
            |blocks| blocks.sweep = SweepMode::Grouped(0),
            "`sweep` is Grouped(0): unfreeze at least one",
        ),
        (
            |blocks| blocks.threshold = MaskThreshold::Sampled(255),
            "`threshold` is Sampled(255): sample at least 256",
        ),
        (
            |blocks| blocks.score = MaskScore::PrincipalWeights { rank: 0 },
            "`score.rank` is 0",
        ),
        (
            |blocks| blocks.inactive.get_or_insert_default().scale = -1.0,
            "`inactive.scale` is -1",
        ),
        (
            |blocks| blocks.recovery = Some(Recovery { growth: 0.9 }),
            "`recovery.growth` is 0.9",
        ),
        (
            |blocks| blocks.groups.embeddings = 0.0,
            "`groups.embeddings` is 0",
        ),
    ];
    for (edit, told) in edits {
        let mut blocks = blockllm(0.9, 100);
        edit(&mut blocks);
        assert_method_not_made(&Method::of("blockllm", blocks), told);
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_plan_and_optimizer() {
    for (settings, told) in [
        ("inactive=0.1+masked-out=move", "`inactive.masked_out` is true"),
        ("inactive=0.1+momentum=head", "`inactive.momentum` is head"),
        ("ramp=5+refresh=each-step", "`ramp` is 5 with refresh=each-step"),
        (
            "ramp=5+moments=carried-over",
            "`ramp` is 5 with moments=carried-over",
        ),
        ("mask=none+unit=input", "`unit` is set for a mask, with mask=none"),
    ] {
        assert_not_made(&format!("blockllm:0.9+{settings}"), told);
    }
}
