//! The sweep: the first gradient norms, measured over one batch (ALGORITHM, "Sweep").
use crate::grad_norm::{self, SumsOfSquares};
use crate::{OptimError, SweepMode, TakeGradients, set_trainable};
use blockllm_policy::{Block, BlockId};
use burn::module::{Module, ParamId};
use std::collections::{BTreeMap, BTreeSet};

/// Runs `ceil(|C| / q)` backward passes, each with `q` neighbouring blocks unfrozen, and returns the module and
/// the sum of squares of every candidate's gradient; parameters without a gradient count as zero. Gradients are measured
/// and dropped as `backward` gives them.
pub(crate) fn sweep<M: Module, E: From<OptimError>>(
    mut module: M,
    mode: SweepMode,
    blocks: &[Block],
    candidates: &[BlockId],
    ids: &[ParamId],
    index: &BTreeMap<ParamId, usize>,
    backward: &mut impl FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, E>,
) -> Result<(M, SumsOfSquares), E> {
    let group_size = match mode {
        SweepMode::Grouped(blocks) => blocks,
        SweepMode::Full => candidates.len(),
    };
    let device = module.devices().remove(0).without_autodiff();
    let mut sums = SumsOfSquares::new(ids.len());
    for group in candidates.chunks(group_size.max(1)) {
        let params = || group.iter().flat_map(|id| blocks[id.0].params.iter().copied());
        module = set_trainable(module, &params().map(|param| ids[param]).collect());
        let mut found = BTreeSet::new();
        module = backward(module, &mut |module, gradients| {
            found.extend(grad_norm::of_gradients(&module, &gradients, index, &mut sums));
            Ok(module)
        })?;
        for missing in params().filter(|param| !found.contains(param)) {
            sums.note_absent(missing, &device);
        }
    }
    Ok((module, sums))
}
