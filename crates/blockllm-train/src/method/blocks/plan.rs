//! What a method of blocks trains, on paper: which blocks a selection takes, how many entries masks keep, and whose gradients
//! are made beside them.
use super::{BlockMethod, PolicySettings};
use crate::TrainError;
use crate::memory::plan::{Assumed, PlannedParameter, PlannedStep, Scheme};
use blockllm_optim::{MaskScope, Measured, Reach, SweepMode};
use blockllm_policy::{Block, Budget, ParamInfo, Role, Take};
use std::collections::{BTreeMap, BTreeSet};

/// What `method` trains of `parameters`.
pub(super) fn scheme<P: PolicySettings>(
    method: &BlockMethod<P>,
    parameters: Vec<PlannedParameter>,
    step: &PlannedStep<'_>,
) -> Result<Scheme, TrainError> {
    let free: Vec<usize> = (0..parameters.len()).filter(|p| parameters[*p].free).collect();
    let info = |p: &usize| ParamInfo::shaped(parameters[*p].path.clone(), parameters[*p].shape.clone());
    let infos: Vec<_> = free.iter().map(info).collect();
    let config = method.config(&infos.iter().collect::<Vec<_>>(), None)?;
    let policy = method.policy.build()?;
    config.validate(policy.signals())?;
    let blocks = config.partition.blocks(&infos, &config.roles)?;
    let of_method = Budget::new(&blocks, config.sparsity)?;
    let take = policy.take().of_whole(method.mask == MaskScope::None);
    let measures_gradients = policy.signals().iter().any(|signal| signal.is_of_gradients());
    let budget = match take {
        Take::Blocks(_) | Take::Nothing => u64::MAX,
        // Where it changes over time, of the first selection.
        _ => match policy.sparsity(0) {
            Some(sparsity) => Budget::new(&blocks, sparsity)?.selected_entries(),
            None => of_method.selected_entries(),
        },
    };
    let candidates: Vec<usize> = (0..blocks.len())
        .filter(|block| blocks[*block].role == Role::Candidate)
        .collect();
    let chosen = chosen(&blocks, &candidates, take, budget, step.assumed);
    let always: Vec<usize> = (0..blocks.len())
        .filter(|block| blocks[*block].role == Role::Always)
        .collect();
    let probed = beside(
        method,
        &blocks,
        &candidates,
        [&chosen, &always],
        measures_gradients,
    );
    let params = |chosen: &[usize]| -> Vec<usize> {
        let params = chosen.iter().flat_map(|block| &blocks[*block].params);
        params.map(|param| free[*param]).collect()
    };
    let group = match method.sweep {
        SweepMode::Grouped(size) => size,
        SweepMode::Full => candidates.len(),
    };
    let sweep = if measures_gradients {
        candidates.chunks(group).map(params).collect()
    } else {
        Vec::new()
    };
    let selected = params(&chosen);
    let keep = if take == Take::Budget { budget } else { u64::MAX };
    let live = |parameter: &PlannedParameter| match method.mask {
        MaskScope::Global => step.seen(parameter),
        MaskScope::PerParameter | MaskScope::None => parameter.entries,
    };
    let always = params(&always);
    let momenta = momenta(method, &parameters, &free, &always)?;
    let scratch = match &method.inactive {
        Some(rule) => (0..)
            .zip(&parameters)
            .map(|(param, parameter)| (param, rule.scratch_bytes(&parameter.path, &parameter.shape)))
            .collect(),
        None => BTreeMap::new(),
    };
    Ok(Scheme {
        sweep,
        kept: kept(&parameters, &selected, keep, &live),
        selected,
        always,
        probed: params(&probed),
        parameters,
        state_with_update: false,
        momenta,
        scratch,
    })
}

/// Bytes of the momenta of the inactive rule: none of what is always trained, which it never moves.
fn momenta<P: PolicySettings>(
    method: &BlockMethod<P>,
    parameters: &[PlannedParameter],
    free: &[usize],
    always: &[usize],
) -> Result<u64, TrainError> {
    let Some(rule) = &method.inactive else {
        return Ok(0);
    };
    let all = free.iter().map(|param| &parameters[*param]);
    let all: Vec<_> = all
        .map(|parameter| (parameter.path.as_str(), &*parameter.shape))
        .collect();
    let with = rule.with_momenta(&all)?;
    let moved = with.into_iter().map(|position| free[position]);
    let moved = moved.filter(|param| !always.contains(param));
    let entries: u64 = moved.map(|param| parameters[param].entries).sum();
    Ok(entries * size_of::<f32>() as u64)
}

/// How many entries a mask over the `selected` parameters keeps of each, `keep` in all: entries without a gradient (all
/// but those that `live` counts) go first, then the same share of each parameter's others.
fn kept(
    parameters: &[PlannedParameter],
    selected: &[usize],
    keep: u64,
    live: &dyn Fn(&PlannedParameter) -> u64,
) -> BTreeMap<usize, u64> {
    let sum = |count: &dyn Fn(&PlannedParameter) -> u64| -> u64 {
        selected.iter().map(|param| count(&parameters[*param])).sum()
    };
    let (all, alive) = (sum(&|parameter| parameter.entries), sum(live));
    let share = |of: u64, part: u64, whole: u64| {
        (u128::from(of) * u128::from(part)).div_ceil(u128::from(whole.max(1))) as u64
    };
    let one = |param: &usize| {
        let parameter = &parameters[*param];
        let (entries, live) = (parameter.entries, live(parameter));
        let kept = match keep {
            _ if keep >= all => entries,
            _ if keep >= alive => live + share(entries - live, keep - alive, all - alive),
            _ => share(live, keep, alive),
        };
        (*param, kept)
    };
    selected.iter().map(one).collect()
}

/// The selected blocks, in block order.
fn chosen(blocks: &[Block], candidates: &[usize], take: Take, budget: u64, assumed: &Assumed) -> Vec<usize> {
    let entries = |block: &usize| blocks[*block].numel;
    if let Assumed::Blocks(names) = assumed {
        let names: BTreeSet<_> = names.iter().collect();
        let named = candidates
            .iter()
            .filter(|block| names.contains(&blocks[**block].name));
        return named.copied().collect();
    }
    let mut by_size = candidates.to_vec();
    by_size.sort_by_key(|block| std::cmp::Reverse(entries(block)));
    let mut chosen = match (take, assumed) {
        // Over a cycle every block is met, and the peak is at the largest.
        (Take::Blocks(count), _) => by_size.into_iter().take(count.max(1)).collect(),
        (Take::BelowBudget | Take::Fitting, _) => whole(&by_size, blocks, budget, assumed),
        (Take::Nothing, _) => Vec::new(),
        (Take::Budget, Assumed::Worst) => {
            // The largest comes last, when all but one entry of the budget is taken by others.
            let largest = by_size.remove(0);
            let mut chosen = below(&by_size, blocks, budget.saturating_sub(1));
            chosen.push(largest);
            chosen
        }
        (Take::Budget, _) => spread(candidates, blocks, budget),
    };
    chosen.sort_unstable();
    chosen
}

/// Whole blocks within the budget, the largest first; or one alone beyond it, with which a ranking may begin: at the worst, and
/// where none fits.
fn whole(by_size: &[usize], blocks: &[Block], budget: u64, assumed: &Assumed) -> Vec<usize> {
    let within = below(by_size, blocks, budget);
    let beyond = by_size.first().filter(|block| blocks[**block].numel > budget);
    match beyond {
        Some(largest) if within.is_empty() || *assumed == Assumed::Worst => vec![*largest],
        _ => within,
    }
}

/// As many of `order` as fit into the budget, each that still does.
fn below(order: &[usize], blocks: &[Block], budget: u64) -> Vec<usize> {
    let mut left = budget;
    let mut fits = |block: &&usize| {
        let fits = blocks[**block].numel <= left;
        left -= if fits { blocks[**block].numel } else { 0 };
        fits
    };
    order.iter().filter(|block| fits(block)).copied().collect()
}

/// Blocks spread evenly over the model until the budget is met.
fn spread(candidates: &[usize], blocks: &[Block], budget: u64) -> Vec<usize> {
    // Multiples of the golden ratio fall evenly, however many there are.
    let count = candidates.len();
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let mut order: Vec<usize> = Vec::new();
    let mut taken = 0;
    let mut rest: BTreeSet<usize> = (0..count).collect();
    let mut turn = 0.5_f64;
    while taken < budget && !rest.is_empty() {
        let wanted = ((turn * count as f64) as usize).min(count - 1);
        let place = rest.range(wanted..).next().or_else(|| rest.iter().next());
        let place = *place.expect("some are left");
        rest.remove(&place);
        taken += blocks[candidates[place]].numel;
        order.push(candidates[place]);
        turn = (turn + golden).fract();
    }
    order
}

/// The blocks whose gradients are made beside those of what is `trained`: measured, or moved by the inactive rule. Of
/// probes each block has its turn, so that the largest are meant.
fn beside<P: PolicySettings>(
    method: &BlockMethod<P>,
    blocks: &[Block],
    candidates: &[usize],
    trained: [&[usize]; 2],
    measures_gradients: bool,
) -> Vec<usize> {
    let rest = || {
        let candidates = candidates.iter().copied();
        candidates.filter(|block| !trained[0].contains(block))
    };
    let reach = method.inactive.as_ref().map(|rule| rule.reach);
    if reach == Some(Reach::All) {
        return rest().collect();
    }
    let probes = if measures_gradients {
        method.policy.probes(method.probes)
    } else {
        0
    };
    let mut beside: Vec<usize> = rest().collect();
    beside.sort_by_key(|block| std::cmp::Reverse(blocks[*block].numel));
    beside.truncate(probes);
    if reach == Some(Reach::Above) || method.measured == Measured::Passed {
        let moving = trained.into_iter().flatten().chain(&beside);
        let lowest = moving.filter_map(|block| blocks[*block].params.first()).min();
        let is_above = |block: &usize| blocks[*block].params.first() > lowest;
        let above: Vec<usize> = rest()
            .filter(|block| is_above(block) && !beside.contains(block))
            .collect();
        beside.extend(above);
    }
    beside
}
