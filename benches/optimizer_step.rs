//! One optimizer step over four million entries, and over one feed-forward matrix of a 7B (45 million), on flex: dense `AdamW` beside `BlockLLM`, forward and backward aside.
use blockllm_benches::{cheap_gradients, cheap_loss, few_samples, matrices_of, optimizer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::cell::RefCell;

fn optimizer_step(criterion: &mut Criterion) {
    steps_over(criterion, "optimizer_step", 16, [512, 512]);
}

fn optimizer_step_of_7b(criterion: &mut Criterion) {
    steps_over(criterion, "optimizer_step/4096 x 11008", 1, [4096, 11008]);
}

fn steps_over(criterion: &mut Criterion, name: &str, count: usize, shape: [usize; 2]) {
    let mut group = criterion.benchmark_group(name);
    for (name, sparsity) in [("adamw", 0.0), ("blockllm/0.5", 0.5), ("blockllm/0.95", 0.95)] {
        let model = matrices_of(count, shape);
        let mut optimizer = optimizer(&model, sparsity);
        let model = optimizer
            .prepare(model, |model| cheap_loss(model))
            .expect("the sweep runs");
        // The first step makes the masks; the measured ones go on with them.
        let gradients = cheap_gradients(&model);
        let model = optimizer.step(model, gradients, 1e-3);
        let model = RefCell::new(Some(model.expect("every trained matrix has a gradient").model));
        let take = || {
            let model = model.borrow_mut().take().expect("the last step gave it back");
            let gradients = cheap_gradients(&model);
            (model, gradients)
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                take,
                |(before, gradients)| {
                    let stepped = optimizer.step(before, gradients, 1e-3);
                    *model.borrow_mut() = Some(stepped.expect("every trained matrix has a gradient").model);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = few_samples(); targets = optimizer_step, optimizer_step_of_7b }
criterion_main!(benches);
