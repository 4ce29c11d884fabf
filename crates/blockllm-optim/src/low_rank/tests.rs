//! APOLLO's formula, entry by entry in f64, beside what one parameter's state makes of the same gradients.
use super::adam::GaLoreAdam;
use super::apollo::ApolloConfig;
use super::config::LowRankConfig;
use super::growth_limiter::GrowthLimiter;
use super::parameter_state::ParameterState;
use super::projector::Projector;
use super::range_finder::Sketch;
use burn::tensor::{DType, Device, Tensor, TensorData};

const STEPS: u64 = 9;
/// Growths by more and by less than the limit, and a gradient of nothing.
const LENGTHS: [f32; STEPS as usize] = [1.0, 1.005, 4.0, 0.5, 0.5, 2.0, 2.0, 0.0, 0.1];

/// Row by row.
type Matrix = Vec<Vec<f64>>;

fn gradient(dims: [usize; 2], step: u64) -> Vec<f32> {
    let entry = |entry: usize| ((entry * 7 + step as usize * 5) as f32 * 0.37).sin();
    let entries = (0..dims[0] * dims[1]).map(entry);
    entries.map(|entry| entry * LENGTHS[step as usize]).collect()
}

fn matrix(values: &[f32], columns: usize) -> Matrix {
    let rows = values.chunks(columns);
    rows.map(|row| row.iter().map(|value| f64::from(*value)).collect())
        .collect()
}

fn norm(entries: &[f64]) -> f64 {
    entries.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

/// `P G` over the side `dim` by the basis `[side, rank]`, all entries in a list.
fn projected(gradient: &Matrix, basis: &Matrix, dim: usize) -> Vec<f64> {
    let (rows, columns) = (gradient.len(), gradient[0].len());
    let (side, other) = if dim == 0 {
        (rows, columns)
    } else {
        (columns, rows)
    };
    let entry = |at: usize, along: usize| {
        if dim == 0 {
            gradient[at][along]
        } else {
            gradient[along][at]
        }
    };
    let rank = basis[0].len();
    let of =
        |along: usize, direction: usize| (0..side).map(|at| entry(at, along) * basis[at][direction]).sum();
    (0..other)
        .flat_map(|along| (0..rank).map(move |direction| (along, direction)))
        .map(|(along, direction)| of(along, direction))
        .collect()
}

/// The formula's own state.
#[derive(Default)]
struct Formula {
    first: Vec<f64>,
    second: Vec<f64>,
    norm: Option<f64>,
}

impl Formula {
    fn direction(&mut self, gradient: &Matrix, low_rank: &[f64], adam: &GaLoreAdam) -> Vec<f64> {
        self.first.resize(low_rank.len(), 0.0);
        self.second.resize(low_rank.len(), 0.0);
        let mut direction = Vec::new();
        for (entry, value) in low_rank.iter().enumerate() {
            self.first[entry] = adam.beta_1 * self.first[entry] + (1.0 - adam.beta_1) * value;
            self.second[entry] = adam.beta_2 * self.second[entry] + (1.0 - adam.beta_2) * value * value;
            direction.push(self.first[entry] / (self.second[entry].sqrt() + adam.epsilon));
        }
        let gain = norm(&direction) / (norm(low_rank) + 1e-8);
        let mut update: Vec<f64> = gradient.concat().iter().map(|entry| entry * gain).collect();
        if let Some(before) = self.norm {
            let limiter = (norm(&update) / (before + 1e-8)).max(1.01) / 1.01;
            for entry in &mut update {
                *entry /= limiter;
            }
        }
        self.norm = Some(norm(&update));
        update.iter().map(|entry| entry * 128.0_f64.sqrt()).collect()
    }
}

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

#[test]
fn every_entry_moves_as_the_authors_formula_says() {
    for device in devices() {
        for (dims, dim) in [([5, 3], 1), ([3, 5], 0), ([4, 4], 1), ([4, 4], 0)] {
            for rank in [1, 2] {
                let config = LowRankConfig::from(ApolloConfig {
                    rank,
                    ..ApolloConfig::default()
                });
                let projector = Projector::new(dim, rank);
                let mut state = ParameterState::projected(dims, projector, config.rule.limiter());
                let (mut formula, mut basis) = (Formula::default(), Matrix::new());
                for step in 0..STEPS {
                    let values = gradient(dims, step);
                    let sketch = Sketch {
                        seed: 3,
                        stream: step,
                    };
                    let refresh = step.is_multiple_of(4).then_some(sketch);
                    if refresh.is_some() {
                        let drawn = sketch.gaussian([dims[dim], rank], &device);
                        let drawn = drawn.div_scalar((rank as f64).sqrt()).into_data();
                        let drawn: Vec<f32> = drawn.iter::<f32>().collect();
                        basis = matrix(&drawn, rank);
                    }
                    let gradient = matrix(&values, dims[1]);
                    let low_rank = projected(&gradient, &basis, dim);
                    let expected = formula.direction(&gradient, &low_rank, &config.adam);
                    let data = TensorData::new(values, [dims[0] * dims[1]]);
                    let given = Tensor::from_data(data, (&device, DType::F32));
                    let found = state.direction(given, &config, refresh).into_data();
                    let scale = norm(&expected).max(1e-3);
                    for (found, expected) in found.iter::<f64>().zip(&expected) {
                        let error = (found - expected).abs() / scale;
                        assert!(
                            error < 1e-5,
                            "{dims:?}, rank {rank}, step {step}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn an_update_grows_by_the_factor_at_most_and_shrinks_freely() {
    let device = Device::flex();
    let mut limiter = GrowthLimiter::new(1.5);
    let lengths = [2.0, 30.0, 1.0, 1.5, 0.0, 1.0].map(|norm: f32| {
        let norm = Tensor::<1>::from_floats([norm], &device);
        let limited = norm.clone() / limiter.excess(norm);
        limited.into_scalar::<f32>()
    });
    for (found, expected) in lengths.iter().zip([2.0, 3.0, 1.0, 1.5, 0.0, 1.5e-8]) {
        assert!((found - expected).abs() <= 1e-6 * expected, "{lengths:?}");
    }
}
