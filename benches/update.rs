//! One `AdamW` update of a parameter of 16 million entries, on every device of the build: all of them, those of a mask in
//! the dense form, and a million in the compact one, in f32 and in 8-bit codes; and what the compact one took while burn's `select_assign` wrote it.
use blockllm_benches::few_samples;
use blockllm_kernels::{
    CODE_WORDS, Coding, EXCLUDED, FusedRule, StateArray, Trained, TrainedEntries, UpdateStep, code_blocks,
    update,
};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};

/// `N`, and of how many entries one is trained in the compact form.
const ENTRIES: usize = 1 << 24;
const APART: usize = 16;

const STEP: UpdateStep = UpdateStep {
    rule: FusedRule::AdamW {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
    },
    learning_rate: 1e-3,
    state_step: 1,
    rounding: blockllm_kernels::Rounding::Nearest,
    codings: [
        Coding {
            non_negative: false,
            excluding: false,
            offset: 0.5,
        },
        Coding {
            non_negative: true,
            excluding: false,
            offset: 0.5,
        },
    ],
};

fn devices() -> Vec<(&'static str, Device)> {
    vec![
        #[cfg(feature = "flex")]
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ]
}

fn filled(len: usize, value: f32, device: &Device) -> Tensor<1> {
    Tensor::full([len], value, (device, DType::F32))
}

/// Waits for the device.
fn wait(device: &Device) {
    device.sync().expect("the device is there");
}

fn updates(criterion: &mut Criterion) {
    for (name, device) in devices() {
        let mut group = criterion.benchmark_group(format!("update/{name}"));
        let places: Vec<i32> = (0..ENTRIES as i32).step_by(APART).collect();
        let trained = places.len();
        let data = TensorData::new(places, [trained]);
        let indices = Tensor::<1, Int>::from_data(data, (&device, DType::I32));
        let gradient = filled(ENTRIES, 1e-2, &device);
        let marks: Vec<f32> = (0..ENTRIES)
            .map(|entry| if entry % APART == 0 { 0.0 } else { EXCLUDED })
            .collect();
        let marks = Tensor::<1>::from_data(TensorData::new(marks, [ENTRIES]), (&device, DType::F32));
        let zeros = |len| StateArray::F32(filled(len, 0.0, &device));
        let codes = |len: usize| {
            let words = vec![0; code_blocks(len) * CODE_WORDS];
            let data = TensorData::new(words, [code_blocks(len) * CODE_WORDS]);
            StateArray::Int8 {
                words: Tensor::from_data(data, (&device, DType::I32)),
                scales: filled(code_blocks(len), 1e-6, &device),
            }
        };
        for (form, entries, state) in [
            ("all 16M", TrainedEntries::All, [zeros(ENTRIES), zeros(ENTRIES)]),
            (
                "1M of 16M, dense",
                TrainedEntries::Marked,
                [StateArray::F32(marks), zeros(ENTRIES)],
            ),
            (
                "1M of 16M, compact",
                TrainedEntries::At(&indices),
                [zeros(trained), zeros(trained)],
            ),
            (
                "all 16M, coded",
                TrainedEntries::All,
                [codes(ENTRIES), codes(ENTRIES)],
            ),
            (
                "1M of 16M, compact and coded",
                TrainedEntries::At(&indices),
                [codes(trained), codes(trained)],
            ),
        ] {
            let mut of = Some(Trained {
                weight: filled(ENTRIES, 1.0, &device),
                state: state.into(),
                master: None,
            });
            group.bench_function(form, |bencher| {
                bencher.iter(|| {
                    let before = of.take().expect("the last update gave it back");
                    of = Some(update(before, gradient.clone(), None, entries, STEP));
                    wait(&device);
                });
            });
        }
        let mut weight = Some(filled(ENTRIES, 1.0, &device));
        let change = filled(trained, 1e-3, &device);
        group.bench_function("only the writing of 1M, by select_assign", |bencher| {
            bencher.iter(|| {
                let before = weight.take().expect("the last update gave it back");
                let (indices, change) = (indices.clone(), change.clone());
                weight = Some(before.select_assign(0, indices, change, IndexingUpdateOp::Add));
                wait(&device);
            });
        });
        group.finish();
    }
}

criterion_group! { name = benches; config = few_samples(); targets = updates }
criterion_main!(benches);
