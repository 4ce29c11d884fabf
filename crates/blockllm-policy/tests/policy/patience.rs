//! The trigger, as ALGORITHM writes it: `|H| >= m and phi_t >= mean(last m of H)`, `H` emptied, `phi_t` pushed.
use crate::common::{measure, selector};
use blockllm_policy::{BlockLlmPolicy, Cyclic, CyclicOrder, Reason, Selector};
use proptest::prelude::*;

fn patient(patience: usize) -> Selector {
    let mut selector = selector(&[10, 10, 10], 0.5, BlockLlmPolicy::new(patience).unwrap());
    measure(&mut selector, &[1.0, 2.0, 3.0]);
    selector.select().unwrap();
    selector
}

/// The steps, from 1, after which a selector selects again.
fn steps_of_selection(patience: usize, losses: &[f64]) -> Vec<usize> {
    let mut selector = patient(patience);
    let mut steps = Vec::new();
    for (step, loss) in losses.iter().enumerate() {
        if let Some(reason) = selector.observe(*loss) {
            assert_eq!(reason, Reason::LossStalled);
            selector.select_because(reason).unwrap();
            steps.push(step + 1);
        }
    }
    steps
}

/// The loop of ALGORITHM, word for word.
fn steps_of_algorithm(patience: usize, losses: &[f64]) -> Vec<usize> {
    let (mut history, mut steps) = (Vec::<f64>::new(), Vec::new());
    for (step, loss) in losses.iter().enumerate() {
        if history.len() >= patience {
            let last = &history[history.len() - patience..];
            if *loss >= last.iter().sum::<f64>() / patience as f64 {
                history.clear();
                steps.push(step + 1);
            }
        }
        history.push(*loss);
    }
    steps
}

proptest! {
    #[test]
    fn the_selections_come_at_the_steps_of_algorithm(
        losses in proptest::collection::vec(0u32..20, 0..120),
        patience in 1usize..8,
    ) {
        let losses: Vec<_> = losses.into_iter().map(f64::from).collect();
        prop_assert_eq!(steps_of_selection(patience, &losses), steps_of_algorithm(patience, &losses));
    }
}

/// Selecting used to empty `H` a second time, after the loss of its step had been pushed, so that every later
/// selection came one step late.
#[test]
fn the_loss_of_the_triggering_step_counts_for_the_next_selection() {
    assert_eq!(steps_of_selection(2, &[1.0; 7]), [3, 5, 7]);
    assert_eq!(steps_of_selection(1, &[1.0; 4]), [2, 3, 4]);
}

#[test]
fn an_equal_loss_is_a_stall_and_a_falling_one_never_is() {
    assert_eq!(steps_of_selection(3, &[2.0, 2.0, 2.0, 2.0]), [4]);
    let falling: Vec<_> = (0..50).map(|step| 1.0 / f64::from(step + 1)).collect();
    assert!(steps_of_selection(3, &falling).is_empty());
}

#[test]
fn a_requested_selection_starts_the_history_anew() {
    let mut selector = patient(2);
    for _ in 0..2 {
        assert_eq!(selector.observe(1.0), None);
    }
    selector.select().unwrap();
    assert_eq!(
        selector.observe(1.0),
        None,
        "H holds one loss, the last before the request"
    );
    assert_eq!(selector.observe(1.0), Some(Reason::LossStalled));
}

#[test]
fn an_interval_is_counted_from_its_selection() {
    let cyclic = Cyclic::new(3, CyclicOrder::Ascending, Some(1)).unwrap();
    let mut selector = selector(&[10, 10, 10], 0.5, cyclic);
    selector.select().unwrap();
    let mut steps = Vec::new();
    for step in 1..=10 {
        if let Some(reason) = selector.observe(f64::from(step)) {
            assert_eq!(reason, Reason::StepInterval);
            selector.select_because(reason).unwrap();
            steps.push(step);
        }
    }
    assert_eq!(steps, [3, 6, 9]);
}
