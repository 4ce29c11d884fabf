//! How good a subspace is, by the energy of the matrix that it captures.
use crate::common::{devices, values};
use blockllm_optim::{Sketch, SvdMethod, leading_basis};
use burn::tensor::{Device, Distribution, Tensor};

const SKETCH: Sketch = Sketch { seed: 5, stream: 1 };

/// A matrix whose singular values fall as `decay(i)`, with random singular vectors.
fn decaying(rows: usize, columns: usize, decay: impl Fn(usize) -> f32, device: &Device) -> Tensor<2> {
    let count = rows.min(columns);
    let vectors = |length, stream| {
        let noise = Tensor::<2>::random([length, count], Distribution::Normal(0.0, 1.0), device);
        let sketch = Sketch { stream, ..SKETCH };
        leading_basis(noise, count, SvdMethod::Exact, sketch)
    };
    let sizes: Vec<f32> = (0..count).map(decay).collect();
    let sizes = Tensor::<1>::from_floats(sizes.as_slice(), device).unsqueeze::<2>();
    (vectors(rows, 2) * sizes).matmul(vectors(columns, 3).transpose())
}

/// `||B^T A||^2`.
fn energy(basis: &Tensor<2>, matrix: &Tensor<2>) -> f32 {
    let captured = basis.clone().transpose().matmul(matrix.clone());
    captured.square().sum().into_scalar::<f32>()
}

/// The largest difference of `B^T B` from the identity.
fn orthogonality_error(basis: &Tensor<2>) -> f32 {
    let [_, rank] = basis.dims();
    let gram = basis.clone().transpose().matmul(basis.clone());
    let difference = gram - Tensor::eye(rank, &basis.device());
    difference.abs().max().into_scalar::<f32>()
}

#[test]
fn a_randomized_subspace_captures_nearly_the_energy_of_the_exact_one() {
    for (backend, device) in devices() {
        for (shape, name) in [([60, 40], "tall"), ([40, 60], "wide"), ([48, 48], "square")] {
            for (exponent, bound) in [(0.5f32, 0.95), (1.0, 0.99), (2.0, 0.999)] {
                let decay = |i: usize| (i as f32 + 1.0).powf(-exponent);
                let matrix = decaying(shape[0], shape[1], decay, &device);
                let exact = leading_basis(matrix.clone(), 8, SvdMethod::Exact, SKETCH);
                let randomized = leading_basis(matrix.clone(), 8, SvdMethod::randomized(), SKETCH);
                let share = energy(&randomized, &matrix) / energy(&exact, &matrix);
                println!("{name} on {backend}, i^-{exponent}: {share:.4} of the exact energy");
                assert!((bound..1.0001).contains(&share), "{share}");
                assert!(orthogonality_error(&randomized) < 1e-5);
                assert!(orthogonality_error(&exact) < 1e-5);
            }
        }
    }
}

#[test]
fn tiny_zero_and_rank_deficient_matrices_give_finite_bases() {
    for (_, device) in devices() {
        let matrix = decaying(20, 30, |i| if i < 3 { 1e-18 } else { 0.0 }, &device);
        let basis = leading_basis(matrix.clone(), 6, SvdMethod::randomized(), SKETCH);
        let whole = matrix
            .clone()
            .mul_scalar(1e18)
            .square()
            .sum()
            .into_scalar::<f32>();
        let captured = energy(&basis, &matrix.mul_scalar(1e18));
        assert!((captured / whole - 1.0).abs() < 1e-4, "{captured} of {whole}");
        let basis = leading_basis(
            Tensor::zeros([20, 30], &device),
            6,
            SvdMethod::randomized(),
            SKETCH,
        );
        assert!(values(basis).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn a_rank_of_the_whole_side_is_a_whole_basis() {
    let device = Device::flex();
    let matrix = decaying(12, 20, |i| 1.0 / (i as f32 + 1.0), &device);
    for method in [SvdMethod::Exact, SvdMethod::randomized()] {
        let basis = leading_basis(matrix.clone(), 12, method, SKETCH);
        assert_eq!(basis.dims(), [12, 12]);
        assert!(orthogonality_error(&basis) < 1e-5);
    }
}

#[test]
fn a_sketch_repeats_and_its_streams_differ() {
    let device = Device::flex();
    let matrix = decaying(30, 30, |_| 1.0, &device);
    let of = |stream| {
        let sketch = Sketch { stream, ..SKETCH };
        values(leading_basis(matrix.clone(), 4, SvdMethod::randomized(), sketch))
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
