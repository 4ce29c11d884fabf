//! What a GaLore refresh costs: the exact SVD beside the randomized range finder, on one 512 x 512 gradient.
use blockllm::optim::{Sketch, SvdMethod, leading_basis};
use blockllm_benches::few_samples;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const SIDE: usize = 512;
const RANK: usize = 64;

fn bases(criterion: &mut Criterion) {
    let device = Device::flex();
    device.seed(1);
    let gradient = Tensor::<2>::random([SIDE, SIDE], Distribution::Normal(0.0, 1.0), &device);
    let sketch = Sketch { seed: 0, stream: 0 };
    let mut group = criterion.benchmark_group("galore basis");
    for (name, method) in [
        ("exact", SvdMethod::Exact),
        ("randomized", SvdMethod::randomized()),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(leading_basis(gradient.clone(), RANK, method, sketch).into_data()));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = few_samples(); targets = bases }
criterion_main!(benches);
