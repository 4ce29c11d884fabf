//! A randomized range finder that stays on the device (Halko, Martinsson, Tropp, arXiv 0909.4061).
use crate::total::total;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// Steps of orthogonal iteration inside the sketch that move the leading directions to its front.
const ROTATIONS: usize = 4;

/// Below any norm that means something, above the smallest normal f32: a zero matrix gives a zero basis.
const TINY: f32 = 1e-30;

/// Which random numbers a sketch is made of: the same ones on every backend, and after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// Seed of the run.
    pub seed: u64,
    /// A number of its own for every matrix and refresh.
    pub stream: u64,
}

/// An approximate basis of the leading `rank` left singular directions of `matrix`.
///
/// Sketches `rank + oversampling` directions, sharpens them by power iterations, and keeps the leading ones.
///
/// # Shapes
/// - `matrix`: `[side, other]`
/// - output: `[side, rank]`
pub(crate) fn randomized_basis(
    matrix: Tensor<2>,
    rank: usize,
    oversampling: usize,
    power_iterations: usize,
    sketch: Sketch,
) -> Tensor<2> {
    let [side, other] = matrix.dims();
    let width = (rank + oversampling).min(side.min(other)); // k
    // Powers of small gradients would underflow.
    let norm = total(matrix.clone().square()).sqrt().clamp_min(TINY);
    let matrix = matrix / norm.unsqueeze::<2>();
    let transposed = matrix.clone().transpose();
    let gaussian = sketch.gaussian([width, other], &matrix.device());
    // Vectors are kept as rows, so that each is contiguous.
    let mut range = orthonormal_rows(&gaussian.matmul(transposed.clone())); // [k, side]
    for _ in 0..power_iterations {
        range = orthonormal_rows(&range.matmul(matrix.clone()).matmul(transposed.clone()));
    }
    if width > rank {
        let inside = range.clone().matmul(matrix); // [k, other]
        let gram = inside.clone().matmul(inside.transpose()); // [k, k]
        let mut front = gram.clone().slice([0..rank, 0..width]);
        for _ in 0..ROTATIONS {
            front = orthonormal_rows(&front.matmul(gram.clone()));
        }
        range = orthonormal_rows(&front.matmul(range));
    }
    range.transpose()
}

/// Gram-Schmidt over the rows, each orthogonalized twice ("twice is enough", Giraud et al. 2005).
///
/// # Shapes
/// `rows` and output: `[k, n]`, `k <= n`.
pub(crate) fn orthonormal_rows(rows: &Tensor<2>) -> Tensor<2> {
    let [count, length] = rows.dims();
    // Rows still to come are zero, so that every product has the same shape and one kernel serves them all.
    let mut done = rows.zeros_like();
    for row in 0..count {
        let mut vector = unit(rows.clone().slice([row..row + 1, 0..length])); // [1, n]
        if row > 0 {
            for _ in 0..2 {
                let along = vector.clone().matmul(done.clone().transpose()); // [1, k]
                vector = unit(vector - along.matmul(done.clone()));
            }
        }
        done = done.slice_assign([row..row + 1, 0..length], vector);
    }
    done
}

/// `[1, n]`, divided by its norm.
fn unit(vector: Tensor<2>) -> Tensor<2> {
    let norm = vector.clone().square().sum_dim(1).sqrt().clamp_min(TINY); // [1, 1]
    vector / norm
}

impl Sketch {
    /// Standard normal numbers by Box and Muller (1958), drawn on the host.
    pub(crate) fn gaussian(self, shape: [usize; 2], device: &Device) -> Tensor<2> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream);
        let count = shape[0] * shape[1];
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let radius = (-2.0 * open_unit(&mut rng).ln()).sqrt();
            let (sin, cos) = (TAU * open_unit(&mut rng)).sin_cos();
            values.push((radius * cos) as f32);
            values.push((radius * sin) as f32);
        }
        values.truncate(count);
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
    }
}

/// A number strictly between 0 and 1.
fn open_unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}
