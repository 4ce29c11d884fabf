//! The sweep: the first gradient norms, measured group by group over one batch (ALGORITHM, "Sweep").
use crate::grad_norm::{self, SumsOfSquares};
use crate::{SweepMode, set_trainable};
use blockllm_policy::{Block, BlockId};
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use std::collections::BTreeMap;

/// Runs `ceil(|C| / q)` backward passes, each with `q` neighbouring blocks unfrozen, and returns the module and
/// the sum of squares of every candidate's gradient; parameters without a gradient count as zero.
pub(crate) fn sweep<M: Module>(
    mut module: M,
    mode: SweepMode,
    blocks: &[Block],
    candidates: &[BlockId],
    ids: &[ParamId],
    index: &BTreeMap<ParamId, usize>,
    gradients_of: &mut impl FnMut(&M) -> GradientsParams,
) -> (M, SumsOfSquares) {
    let group_size = match mode {
        SweepMode::Grouped(blocks) => blocks,
        SweepMode::Full => candidates.len(),
    };
    let device = module.devices().remove(0).without_autodiff();
    let mut sums = SumsOfSquares::new(ids.len());
    for group in candidates.chunks(group_size.max(1)) {
        let params = || group.iter().flat_map(|id| blocks[id.0].params.iter().copied());
        module = set_trainable(module, &params().map(|param| ids[param]).collect());
        let gradients = gradients_of(&module);
        let found = grad_norm::of_gradients(&module, &gradients, index, &mut sums);
        for missing in params().filter(|param| !found.contains(param)) {
            sums.note_absent(missing, &device);
        }
    }
    (module, sums)
}
