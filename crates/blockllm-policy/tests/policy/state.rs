//! Saving and restoring a selector in the middle of a run.
use crate::common::{blocks, boxed, built_in, drive, selector};
use blockllm_policy::{
    All, BlockLlmPolicy, Cyclic, CyclicOrder, EpsilonGreedySettings, PolicyConfig, PolicyError, PolicyRng,
    RandomBlocks, Selector, SelectorConfig, SelectorState,
};
use proptest::prelude::*;
use rand::SeedableRng;

const SIZES: [u64; 7] = [10, 40, 5, 20, 30, 8, 15];

fn fresh(policy: &PolicyConfig) -> Selector {
    boxed(&SIZES, 0.6, policy.build().unwrap())
}

/// Through text, as a checkpoint holds it.
fn through_json(state: &SelectorState) -> SelectorState {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_policy_goes_on_after_a_restore_as_if_nothing_had_happened(before in 0u64..20, seed in 0u64..1000) {
        for policy in built_in() {
            let mut run = fresh(&policy);
            let mut rng = PolicyRng::seed_from_u64(seed);
            drive(&mut run, before, &mut rng);
            let saved = through_json(&run.state());
            prop_assert_eq!(&saved, &run.state());
            let mut resumed = fresh(&policy);
            resumed.restore(saved).unwrap();
            prop_assert_eq!(resumed.state(), run.state());
            let turns = drive(&mut resumed, 30, &mut rng.clone());
            prop_assert_eq!(turns, drive(&mut run, 30, &mut rng));
            prop_assert_eq!(resumed.state(), run.state());
        }
    }
}

#[test]
fn the_state_of_another_policy_is_refused() {
    let state = selector(&SIZES, 0.6, BlockLlmPolicy::default()).state();
    let error = selector(&SIZES, 0.6, All).restore(state).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PolicyError::StateMismatch { what: "policy", .. }));
    assert!(text.contains("blockllm") && text.contains("all"), "{text}");
}

#[test]
fn the_state_of_other_block_sizes_is_refused() {
    let state = selector(&SIZES, 0.6, BlockLlmPolicy::default()).state();
    let mut other = selector(&[10, 40, 5], 0.6, BlockLlmPolicy::default());
    let text = other.restore(state.clone()).unwrap_err().to_string();
    assert!(
        text.contains("7 blocks with 128") && text.contains("3 blocks with 55"),
        "{text}"
    );
    // The same number of blocks and of entries in another order is another partition, too.
    let mut swapped = SIZES;
    swapped.swap(0, 1);
    assert!(
        selector(&swapped, 0.6, BlockLlmPolicy::default())
            .restore(state)
            .is_err()
    );
}

#[test]
fn a_broken_policy_state_is_refused() {
    let cyclic = || Cyclic::new(3, CyclicOrder::Random, None).unwrap();
    let mut state = serde_json::to_value(selector(&SIZES, 0.6, cyclic()).state()).unwrap();
    state["policy_state"] = serde_json::json!({ "cycle": "none" });
    let state: SelectorState = serde_json::from_value(state).unwrap();
    assert!(matches!(
        selector(&SIZES, 0.6, cyclic()).restore(state),
        Err(PolicyError::StateMismatch {
            what: "policy state",
            ..
        })
    ));
    let mut state = serde_json::to_value(selector(&SIZES, 0.6, All).state()).unwrap();
    state["policy_state"] = serde_json::json!({ "epsilon": 1 });
    let state: SelectorState = serde_json::from_value(state).unwrap();
    assert!(selector(&SIZES, 0.6, All).restore(state).is_err());
}

#[test]
fn a_refused_state_leaves_the_selector_as_it_was() {
    let mut run = selector(&SIZES, 0.6, BlockLlmPolicy::default());
    drive(&mut run, 5, &mut PolicyRng::seed_from_u64(1));
    let before = run.state();
    assert!(run.restore(selector(&[1, 2], 0.0, All).state()).is_err());
    assert_eq!(run.state(), before);
}

#[test]
fn the_random_numbers_are_the_seed_s() {
    let run = |seed| {
        let config = SelectorConfig {
            sparsity: 0.6,
            seed,
            ..SelectorConfig::default()
        };
        let policy = Box::new(RandomBlocks::new(1, None).unwrap());
        let mut selector = Selector::new(blocks(&SIZES), config, policy).unwrap();
        drive(&mut selector, 20, &mut PolicyRng::seed_from_u64(0))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// A state as text, changed by somebody.
fn edited(
    state: &SelectorState,
    change: impl Fn(&mut serde_json::Value),
) -> Result<SelectorState, serde_json::Error> {
    let mut value = serde_json::to_value(state).unwrap();
    change(&mut value);
    serde_json::from_value(value)
}

#[test]
fn the_state_of_another_sparsity_role_or_policy_setting_is_refused_by_name() {
    let mut run = selector(&SIZES, 0.6, BlockLlmPolicy::new(3).unwrap());
    drive(&mut run, 5, &mut PolicyRng::seed_from_u64(1));
    let state = run.state();
    let refusal = |mut other: Selector| other.restore(state.clone()).unwrap_err().to_string();
    let text = refusal(selector(&SIZES, 0.5, BlockLlmPolicy::new(3).unwrap()));
    assert!(
        text.contains("sparsity") && text.contains("0.6") && text.contains("0.5"),
        "{text}"
    );
    let text = refusal(selector(&SIZES, 0.6, BlockLlmPolicy::new(4).unwrap()));
    assert!(
        text.contains("settings of the policy") && text.contains('4'),
        "{text}"
    );
    let mut always = blocks(&SIZES);
    always[2].role = blockllm_policy::Role::Always;
    let config = SelectorConfig {
        sparsity: 0.6,
        ..SelectorConfig::default()
    };
    let policy = Box::new(BlockLlmPolicy::new(3).unwrap());
    let text = refusal(Selector::new(always, config, policy).unwrap());
    assert!(text.contains("always") && text.contains("candidate"), "{text}");
}

#[test]
fn an_edited_state_is_refused_where_it_would_be_read_past_its_end() {
    let fresh = || selector(&SIZES, 0.6, Cyclic::new(3, CyclicOrder::Random, None).unwrap());
    let mut run = fresh();
    drive(&mut run, 5, &mut PolicyRng::seed_from_u64(1));
    let state = run.state();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let Ok(state) = edited(&state, change) else {
            return true;
        };
        let mut other = fresh();
        other.restore(state).is_err()
    };
    assert!(!refused(&|_| {}));
    // As an earlier version wrote it.
    let earlier = |norms: serde_json::Value| {
        move |state: &mut serde_json::Value| {
            state.as_object_mut().unwrap().remove("measurements");
            state["norms"] = norms.clone();
        }
    };
    assert!(!refused(&earlier(serde_json::json!(vec![
        Some(0.5);
        SIZES.len()
    ]))));
    assert!(refused(&earlier(serde_json::json!([0.5]))));
    assert!(refused(&|state| state["selected"] = serde_json::json!([99])));
    assert!(refused(
        &|state| state["measurements"]["values"] = serde_json::json!({ "grad-norm": [] })
    ));
    assert!(refused(&|state| state["measured_at"] = serde_json::json!([1])));
    assert!(refused(&|state| state["visits"]["counts"] = serde_json::json!([])));
    assert!(refused(
        &|state| state["policy_state"] = serde_json::json!({ "cycle": [99, 3], "next": 0 })
    ));
    assert!(refused(
        &|state| state["policy_state"] = serde_json::json!({ "cycle": [1, 0, 1], "next": 0 })
    ));
    assert!(refused(&|state| state["selected"] = serde_json::json!([1, 1])));
    assert!(refused(
        &|state| state["policy_state"]["next"] = serde_json::json!(1000)
    ));

    let greedy = || {
        boxed(
            &SIZES,
            0.6,
            PolicyConfig::EpsilonGreedy(EpsilonGreedySettings {
                patience: 3,
                epsilon: 1.0,
                decay: 0.9,
            })
            .build()
            .unwrap(),
        )
    };
    for epsilon in [
        serde_json::json!(2.0),
        serde_json::json!(-0.1),
        serde_json::json!("1"),
        serde_json::Value::Null,
    ] {
        let state = edited(&greedy().state(), |state| {
            state["policy_state"]["epsilon"] = epsilon.clone();
        })
        .unwrap();
        assert!(greedy().restore(state).is_err(), "{epsilon}");
    }
}
