//! What a selection costs: ranking the parameters of a 7B, and masking a million gradients to an exact budget.
use blockllm::model::llama::LlamaConfig;
use blockllm::policy::{BlockLlmPolicy, ParamInfo, Partition, Roles, Selector, SelectorConfig};
use blockllm_benches::{cheap_gradients, cheap_loss, few_samples, matrices, optimizer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn ranking(criterion: &mut Criterion) {
    let shapes = LlamaConfig::preset("7b")
        .expect("the preset is there")
        .parameter_shapes();
    let params: Vec<_> = shapes
        .into_iter()
        .map(|shape| ParamInfo::new(shape.path.clone(), shape.numel()))
        .collect();
    let blocks = Partition::Tensor
        .blocks(&params, &Roles::default())
        .expect("the paths differ");
    let selector = Selector::new(
        blocks,
        SelectorConfig::default(),
        Box::new(BlockLlmPolicy::default()),
    );
    let mut selector = selector.expect("the sparsity is in range");
    for block in selector.candidates() {
        selector.record_norm(block, 1.0 + (block.0 * 7919 % 997) as f64);
    }
    criterion.bench_function("selection/rank the 291 parameters of a 7B", |bencher| {
        bencher.iter(|| black_box(selector.select().expect("every block has a norm")));
    });
}

/// The step after a selection makes the masks; the one after it only uses them. The difference is the mask's cost.
fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("selection/mask 1e6 gradients");
    for (name, is_new) in [("step with a new mask", true), ("step with the old mask", false)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let model = matrices(1, 1024);
                    let mut optimizer = optimizer(&model, 0.95);
                    let mut model = optimizer
                        .prepare(model, |model| cheap_loss(model))
                        .expect("the sweep runs");
                    if !is_new {
                        let gradients = cheap_gradients(&model);
                        let stepped = optimizer.step(model, gradients, 1e-3);
                        model = stepped.expect("the matrix has a gradient").model;
                    }
                    let gradients = cheap_gradients(&model);
                    (optimizer, model, gradients)
                },
                |(mut optimizer, model, gradients)| {
                    let stepped = optimizer.step(model, gradients, 1e-3);
                    // Given back, so that dropping it is not measured.
                    (optimizer, stepped.expect("the matrix has a gradient"))
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = few_samples(); targets = ranking, masking }
criterion_main!(benches);
