//! Memory, measured by the runner's counting allocator in a process of its own.
use super::complete_run::{CompleteRun, METHODS};
use blockllm::train::memory::MemorySource;
use blockllm::train::{Record, RunFolder, RunResult};

fn results() -> Vec<RunResult> {
    CompleteRun::shared().results()
}

#[test]
fn the_parts_of_the_measured_peak_add_up_to_it() {
    for result in results() {
        let memory = result.memory;
        assert_eq!(memory.source, MemorySource::CountingAllocator);
        let parts = memory.weights_bytes
            + memory.gradients_bytes
            + memory.optimizer_state_bytes.measured
            + memory.activations_bytes;
        assert_eq!(parts, memory.peak_bytes, "{}", result.method);
        // The rest is cut off at zero: only where it is above do the other parts fit below the peak.
        assert!(memory.activations_bytes > 0, "{}: {memory:?}", result.method);
        assert_eq!(memory.weights_bytes, 4 * result.parameters, "{}", result.method);
    }
}

#[test]
fn what_is_live_between_steps_is_the_counted_weights_and_state() {
    let run = CompleteRun::shared();
    for (result, (_, name)) in results().iter().zip(METHODS) {
        let records = RunFolder::new(run.folder(name)).records().unwrap();
        let live = records.iter().filter_map(|record| match record {
            Record::Step(step) => Some(step.memory_bytes),
            _ => None,
        });
        let live = live.max().unwrap();
        let counted = result.memory.weights_bytes + result.memory.optimizer_state_bytes.measured;
        assert!(
            (counted..counted + counted / 10).contains(&live),
            "{name}: {live} live, {counted} counted"
        );
    }
}

#[test]
fn dense_adamw_holds_eight_bytes_of_state_and_four_of_gradient_for_each_parameter() {
    let adamw = &results()[0];
    let state = adamw.memory.optimizer_state_bytes;
    assert_eq!(state.measured, 8 * adamw.parameters);
    assert_eq!(state.estimated, state.measured);
    assert_eq!(adamw.memory.gradients_bytes, 4 * adamw.parameters);
    assert_eq!(adamw.trained_entries, adamw.parameters);
}

#[test]
fn blockllm_holds_the_state_that_is_estimated_for_it_and_trains_its_exact_budget() {
    for (result, share) in results()[1..].iter().zip([0.5, 0.1]) {
        let state = result.memory.optimizer_state_bytes;
        assert_eq!(state.measured, state.estimated, "{}", result.method);
        let budget = (share * result.parameters as f64).ceil() as u64;
        // `1 - s` is a little off 0.1 in binary, which may lift the ceiling by one.
        assert!(
            result.trained_entries.abs_diff(budget) <= 1,
            "{}: {budget}",
            result.method
        );
        assert!(
            state.measured >= 8 * budget && state.measured <= 12 * (budget + 1),
            "{}: {state:?}",
            result.method
        );
    }
}

#[test]
fn blockllms_peak_is_below_adamws_and_falls_with_the_sparsity() {
    let peaks: Vec<_> = results().iter().map(|result| result.memory.peak_bytes).collect();
    assert!(peaks[1] < peaks[0] && peaks[2] < peaks[1], "{peaks:?}");
}
