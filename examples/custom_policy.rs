//! A selection policy of your own, passed by value: `cargo run --release --example custom_policy`.
use blockllm::prelude::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};

/// Prefers blocks whose gradient norm grew the most since the last selection; selects again every `interval` steps.
#[derive(Debug)]
struct FastestGrowing {
    interval: u64,
    last_norms: Vec<f64>,
}

impl Policy for FastestGrowing {
    fn name(&self) -> &'static str {
        "fastest-growing"
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let norms = context
            .candidates
            .iter()
            .map(|id| context.norm("fastest-growing", *id))
            .collect::<Result<Vec<_>, _>>()?;
        if self.last_norms.len() != norms.len() {
            self.last_norms = vec![1.0; norms.len()];
        }
        let mut growth = norms
            .iter()
            .zip(&self.last_norms)
            .map(|(now, before)| now / before.max(1e-12));
        let ranking = context.ranked_by(|_| Ok(growth.next().expect("one norm for each candidate")));
        self.last_norms = norms;
        ranking
    }

    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        every_k_steps(progress, self.interval)
    }
}

fn main() -> anyhow::Result<()> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut model: Vec<Linear> = (0..4).map(|_| LinearConfig::new(32, 32).init(&device)).collect();
    let x = Tensor::<2>::random([128, 32], Distribution::Default, &device);
    let y = x.clone().flip([1]);
    let loss_of = |model: &Vec<Linear>| {
        let out = model
            .iter()
            .fold(x.clone(), |hidden, layer| layer.forward(hidden));
        (out - y.clone()).square().mean()
    };

    let policy = FastestGrowing {
        interval: 50,
        last_norms: Vec::new(),
    };
    // One line swaps it: let policy = BlockLlmPolicy::new(50)?;
    let mut optimizer = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.75), policy)?;

    for step in 1..=300 {
        model = optimizer.prepare(model, loss_of)?;
        let loss = loss_of(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, 3e-3)?.model;
        let loss = loss.into_scalar::<f32>();
        optimizer.observe(loss)?;
        if let Some(event) = optimizer.take_selection_event() {
            println!(
                "step {step}: loss {loss:.5}, now training {}",
                event.blocks.join(", ")
            );
        }
    }
    Ok(())
}
