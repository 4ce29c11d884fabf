//! What a policy and a score of one's own decide: rates and budgets of blocks, averages of norms, which entries are trained.
use crate::common::devices;
use crate::given_gradients::{Model, PARAMETERS, f64s, some, step};
use blockllm_optim::{
    BlockOptimizer, BlockOptimizerConfig, EntryScore, GradientsParams, MaskScore, MaskUnit, NormKind,
    ScoreContext, Sgd,
};
use blockllm_policy::{
    BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Take, Terms,
};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a policy saw of each block at a selection, for each of its signals.
type Seen = Arc<Mutex<Vec<BTreeMap<(Signal, usize), f64>>>>;

/// Takes the matrix and the head, at these rates and budgets, and again at every second step; notes what it sees.
struct Chosen {
    terms: [Terms; 2],
    signals: Vec<Signal>,
    seen: Seen,
}

impl Policy for Chosen {
    fn name(&self) -> &'static str {
        "chosen"
    }

    fn signals(&self) -> &[Signal] {
        &self.signals
    }

    fn average_decay(&self) -> f64 {
        0.75
    }

    fn take(&self) -> Take {
        Take::Blocks(2)
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let mut seen = BTreeMap::new();
        for signal in &self.signals {
            for block in context.candidates {
                seen.insert((*signal, block.0), context.signal("chosen", *signal, *block)?);
            }
        }
        self.seen.lock().unwrap().push(seen);
        Ok(vec![BlockId(1), BlockId(3)])
    }

    fn terms(
        &mut self,
        _: &SelectContext<'_>,
        _: &[BlockId],
        _: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        Ok(self.terms.to_vec())
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        progress.step.is_multiple_of(2).then_some(Reason::StepInterval)
    }
}

/// SGD without momentum, so that a step is the gradient.
fn config(sparsity: f64) -> BlockOptimizerConfig {
    BlockOptimizerConfig::new(sparsity).with_update(Sgd {
        momentum: 0.0,
        ..Sgd::default()
    })
}

fn new(
    device: &Device,
    config: BlockOptimizerConfig,
    terms: [Terms; 2],
    signals: &[Signal],
) -> (Model, BlockOptimizer, Seen) {
    let model = Model::new(device);
    let seen = Seen::default();
    let policy = Chosen {
        terms,
        signals: signals.to_vec(),
        seen: seen.clone(),
    };
    let optimizer = BlockOptimizer::new(&model, config, policy).unwrap();
    (model, optimizer, seen)
}

/// The entries of a parameter that differ.
fn changed(before: &[f64], after: &[f64]) -> Vec<usize> {
    (0..before.len())
        .filter(|entry| before[*entry].to_bits() != after[*entry].to_bits())
        .collect()
}

#[test]
fn each_block_keeps_its_budget_and_goes_at_its_rate() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let terms = [(2.0, 3), (0.5, 10)].map(|(rate, entries)| Terms {
            rate,
            entries: Some(entries),
        });
        let (model, mut optimizer, _) = new(&device, config(0.5), terms, &[]);
        let before = model.weights();
        let after = step(&mut optimizer, model, 1, 0.1, &device).weights();
        assert_eq!(optimizer.trained_entries(), 13, "{name}");
        for (position, rate, keep) in [(1, 2.0, 3), (3, 0.5, 10)] {
            let (parameter, rows, columns) = PARAMETERS[position];
            let gradient = f64s(some(rows * columns, 4 + position));
            let mut largest: Vec<usize> = (0..gradient.len()).collect();
            largest.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
            let mut kept = largest[..keep].to_vec();
            kept.sort_unstable();
            assert_eq!(
                changed(&before[parameter], &after[parameter]),
                kept,
                "{name} {parameter}"
            );
            for entry in kept {
                let expected = before[parameter][entry] - 0.1 * rate * gradient[entry];
                let found = after[parameter][entry];
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name} {parameter} {entry}: {found} {expected}"
                );
            }
        }
        assert_eq!(before["embed"], after["embed"], "{name}");
    }
}

/// The sweep sees the gradients of step 0, a step those of its number.
fn sweep(optimizer: &mut BlockOptimizer, model: Model, device: &Device) -> Model {
    optimizer
        .prepare_with(model, |model| model.gradients(0, device))
        .unwrap()
}

#[test]
fn averages_and_curvature_are_over_the_steps_that_measured_a_block() {
    const SIGNALS: [Signal; 5] = [
        Signal::GradNormAverage,
        Signal::Curvature,
        Signal::GradNorm,
        Signal::WeightNorm,
        Signal::WeightNormAverage,
    ];
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let mut config = config(0.5).with_norm(NormKind::Rms);
        // One probe: the embeddings and the gain by turns.
        config.probes = 1;
        let (mut model, mut optimizer, seen) = new(&device, config, [Terms::default(); 2], &SIGNALS);
        let initial = model.weights();
        model = sweep(&mut optimizer, model, &device);
        let sum = |position: usize, step: usize| -> f64 {
            let (_, rows, columns) = PARAMETERS[position];
            f64s(some(rows * columns, 4 * step + position))
                .iter()
                .map(|g| g * g)
                .sum()
        };
        let mut averages: Vec<f64> = (0..4).map(|position| sum(position, 0)).collect();
        for turn in 1..=2 {
            let probed = [0, 2][turn - 1];
            let mut gradients = GradientsParams::new();
            let mut all = model.gradients(turn, &device);
            for position in [1, 3, probed] {
                averages[position] = 0.75 * averages[position] + 0.25 * sum(position, turn);
                match position {
                    0 => gradients.register(model.embed.id, all.remove::<2>(model.embed.id).unwrap()),
                    1 => gradients.register(model.matrix.id, all.remove::<2>(model.matrix.id).unwrap()),
                    2 => gradients.register(model.gain.id, all.remove::<1>(model.gain.id).unwrap()),
                    _ => gradients.register(model.lm_head.id, all.remove::<2>(model.lm_head.id).unwrap()),
                }
            }
            model = optimizer.step(model, gradients, 1e-3).unwrap().model;
            if turn == 1 {
                // Through a record, too.
                let record = optimizer.record().unwrap();
                optimizer.restore(record, &device).unwrap();
            }
            optimizer.observe(1.0).unwrap();
            model = sweep(&mut optimizer, model, &device);
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2, "{name}");
        for position in 0..4 {
            let (parameter, rows, columns) = PARAMETERS[position];
            let numel = (rows * columns) as f64;
            let latest = sum(position, [1, 2, 2, 2][position]);
            let squares = |weights: &[f64]| -> f64 { weights.iter().map(|w| w * w).sum() };
            let (first, weights) = (squares(&initial[parameter]), squares(&model.weights()[parameter]));
            for (signal, expected) in [
                (Signal::GradNormAverage, (averages[position] / numel).sqrt()),
                (Signal::Curvature, averages[position] / numel),
                (Signal::GradNorm, (latest / numel).sqrt()),
                (Signal::WeightNorm, weights.sqrt()),
                // Two selections measured it.
                (Signal::WeightNormAverage, (0.75 * first + 0.25 * weights).sqrt()),
            ] {
                let found = seen[1][&(signal, position)];
                assert!(
                    (found / expected - 1.0).abs() < 1e-5,
                    "{name} {parameter} {signal:?}: {found} {expected}"
                );
            }
        }
    }
}

/// The first-order change of the loss if an entry were zero, of the head alone.
#[derive(Debug)]
struct Saliency;

impl EntryScore for Saliency {
    fn score(&self, context: ScoreContext<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let of_head = f64::from(u8::from(context.parameter.info.path == "lm_head"));
        (weight * gradient).mul_scalar(of_head)
    }
}

/// The entries of the head that `config` trains of `model` with a budget of `keep` of them.
fn trained_of_head(config: BlockOptimizerConfig, model: Model, keep: u64, device: &Device) -> Vec<usize> {
    let policy = Chosen {
        terms: [Terms::of_entries(2), Terms::of_entries(keep)],
        signals: Vec::new(),
        seen: Seen::default(),
    };
    let mut optimizer = BlockOptimizer::new(&model, config, policy).unwrap();
    let before = model.weights();
    let after = step(&mut optimizer, model, 1, 0.1, device).weights();
    changed(&before["lm_head"], &after["lm_head"])
}

/// The four of 24 entries whose `score` is largest.
fn largest(score: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..24).collect();
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let mut kept = order[..4].to_vec();
    kept.sort_unstable();
    kept
}

#[test]
fn a_score_of_one_s_own_and_a_built_in_one_choose_the_entries() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let trained = |config| trained_of_head(config, Model::new(&device), 4, &device);
        let (weight, gradient) = (f64s(some(24, 3)), f64s(some(24, 7)));
        let saliency = largest(|entry| (weight[entry] * gradient[entry]).abs());
        assert_eq!(trained(config(0.5).with_score(Saliency)), saliency, "{name}");
        let smallest = largest(|entry| -weight[entry].abs());
        assert_eq!(
            trained(config(0.5).with_score(MaskScore::SmallestWeights)),
            smallest,
            "{name}"
        );
        // Four rows of six: the four rows' largest column by its root mean square.
        let mut by_column = config(0.5);
        by_column.unit = MaskUnit::Output;
        let norm = |column: usize| (0..4).map(|row| gradient[6 * row + column].powi(2)).sum::<f64>();
        let best = (0..6).max_by(|a, b| norm(*a).total_cmp(&norm(*b))).unwrap();
        let column: Vec<usize> = (0..4).map(|row| 6 * row + best).collect();
        assert_eq!(trained(by_column), column, "{name}");
        // The largest row whole, and the first two entries of the next.
        let mut by_row = config(0.5);
        by_row.unit = MaskUnit::Input;
        let norm = |row: usize| gradient[6 * row..6 * row + 6].iter().map(|g| g * g).sum::<f64>();
        let mut rows: Vec<usize> = (0..4).collect();
        rows.sort_by(|a, b| norm(*b).total_cmp(&norm(*a)));
        let whole = 6 * rows[0]..6 * rows[0] + 6;
        let mut expected: Vec<usize> = whole.chain(6 * rows[1]..6 * rows[1] + 2).collect();
        expected.sort_unstable();
        let found = trained_of_head(by_row, Model::new(&device), 8, &device);
        assert_eq!(found, expected, "{name}");
    }
}

/// Singular vectors of a head of four by six, a row each: reflections at (1, 0, -3, 0) and (2, 0, 3, 1, -1, 1).
const LEFT: [[f64; 4]; 4] = [
    [0.8, 0.0, 0.6, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.6, 0.0, -0.8, 0.0],
    [0.0, 0.0, 0.0, 1.0],
];
const RIGHT: [[f64; 6]; 4] = [
    [0.5, 0.0, -0.75, -0.25, 0.25, -0.25],
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    [-0.75, 0.0, -0.125, -0.375, 0.375, -0.375],
    [-0.25, 0.0, -0.375, 0.875, 0.125, -0.125],
];
const SINGULAR_VALUES: [f64; 4] = [8.0, 5.0, 2.0, 0.5];

/// An entry of the head's approximation of that rank.
fn approximation(rank: usize, entry: usize) -> f64 {
    let (row, column) = (entry / 6, entry % 6);
    (0..rank)
        .map(|k| SINGULAR_VALUES[k] * LEFT[k][row] * RIGHT[k][column])
        .sum()
}

#[test]
fn principal_weights_are_those_of_the_exact_approximation_of_their_rank() {
    // 4.8, 5, 3.6 and 3.2 are the largest of rank two; of one direction and of the weights themselves others are.
    let by_hand = [0, 2, 7, 14];
    assert_eq!(largest(|entry| approximation(2, entry).abs()), by_hand);
    for other in [1, 3, 4] {
        assert_ne!(largest(|entry| approximation(other, entry).abs()), by_hand);
    }
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let weights: Vec<f32> = (0..24).map(|entry| approximation(4, entry) as f32).collect();
        let head: Tensor<2> = Tensor::from_data(TensorData::new(weights, [4, 6]), (&device, DType::F32));
        for rank in [1, 2, 3, 4] {
            let mut model = Model::new(&device);
            model.lm_head = Param::from_tensor(head.clone());
            let config = config(0.5).with_score(MaskScore::PrincipalWeights { rank });
            assert_eq!(
                trained_of_head(config, model, 4, &device),
                largest(|entry| approximation(rank, entry).abs()),
                "{name}, rank {rank}"
            );
        }
    }
}
