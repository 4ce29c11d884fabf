//! The update of coded moments, piece by piece: only a piece of them exists in f32 at a time.
use super::{Form, Master, SparseState};
use crate::UpdateRule;
use crate::pieces::piece_len;
use blockllm_kernels::{Rounding, Trained, TrainedEntries, UpdateStep, update};
use burn::tensor::Tensor;
use std::ops::Range;

impl SparseState {
    /// The updated weight, as the update in one pass gives it.
    #[allow(clippy::too_many_arguments, reason = "all that an update reads, named once")]
    pub(super) fn in_coded_pieces(
        &mut self,
        rule: &dyn UpdateRule,
        step: UpdateStep,
        mut weight: Tensor<1>,
        gradient: &Tensor<1>,
        clip: Option<&Tensor<1>>,
        mut master: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let entries = match &self.form {
            Form::Whole | Form::Dense => self.estimate.numel,
            Form::Compact(_) => self.estimate.trained,
        } as usize;
        // A multiple of a block's entries.
        let piece_len = piece_len(&weight.device());
        for start in (0..entries).step_by(piece_len) {
            let range = start..entries.min(start + piece_len);
            let step = UpdateStep {
                rounding: of_piece(step.rounding, start),
                ..step
            };
            let of = |whole: &Tensor<1>| whole.clone().slice(range.clone());
            let state = self
                .arrays
                .iter()
                .map(|array| array.piece(&range).load())
                .collect();
            let own_master = master.as_ref().map(of);
            let updated = match &self.form {
                Form::Compact(indices) => {
                    let indices = Tensor::clone(indices).slice(range.clone());
                    let trained = Trained {
                        weight,
                        state,
                        master: own_master,
                    };
                    let updated = update(
                        trained,
                        gradient.clone(),
                        clip,
                        TrainedEntries::At(&indices),
                        step,
                    );
                    weight = updated.weight;
                    (updated.state, updated.master)
                }
                form => {
                    let entries = match form {
                        Form::Dense => TrainedEntries::Marked,
                        Form::Whole | Form::Compact(_) => TrainedEntries::All,
                    };
                    let trained = Trained {
                        weight: of(&weight),
                        state,
                        master: own_master,
                    };
                    let updated = update(trained, of(gradient), clip, entries, step);
                    weight = weight.slice_assign(range.clone(), updated.weight);
                    (updated.state, updated.master)
                }
            };
            self.keep_piece(rule, &range, updated.0);
            master = match (master, updated.1) {
                (Some(master), Some(piece)) => Some(master.slice_assign(range, piece)),
                (master, _) => master,
            };
        }
        self.master = master.map(|weights| Master::Ready(Box::new(weights)));
        weight
    }

    /// Codes a piece of every array and puts it in its place.
    fn keep_piece(&mut self, rule: &dyn UpdateRule, range: &Range<usize>, state: Vec<Tensor<1>>) {
        for (array, values) in state.into_iter().enumerate() {
            let coding = self.coding_of_step(rule, array);
            self.arrays[array].assign(range, values, coding);
        }
    }
}

/// Another seed for each piece, whose entries are counted from its beginning.
fn of_piece(rounding: Rounding, start: usize) -> Rounding {
    match rounding {
        Rounding::Nearest => Rounding::Nearest,
        Rounding::Stochastic { seed } => Rounding::Stochastic {
            seed: seed.wrapping_add(start as u64),
        },
    }
}
