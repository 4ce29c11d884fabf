//! BlockLLM in a loop of your own, on a module of your own: `cargo run --release --example quickstart`.
use blockllm::prelude::*;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Distribution, Tensor};

/// Any burn module will do.
#[derive(Module, Debug)]
struct Mlp {
    up: Linear,
    middle: Linear,
    down: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        Self {
            up: LinearConfig::new(16, 128).init(device),
            middle: LinearConfig::new(128, 128).init(device),
            down: LinearConfig::new(128, 1).init(device),
        }
    }

    /// # Shapes
    /// `x`: `[B, 16]`; output `[B, 1]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down
            .forward(gelu(self.middle.forward(gelu(self.up.forward(x)))))
    }
}

fn main() -> anyhow::Result<()> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut model = Mlp::new(&device);
    let x = Tensor::<2>::random([256, 16], Distribution::Default, &device);
    let y = x.clone().sin().sum_dim(1);
    let loss_of = |model: &Mlp| (model.forward(x.clone()) - y.clone()).square().mean();

    // 90 % of the entries are frozen at any time; which ones is decided again when the loss stalls for 20 steps.
    let config = BlockOptimizerConfig::new(0.9);
    let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::new(20)?)?;

    for step in 1..=400 {
        model = optimizer.prepare(model, loss_of)?;
        let loss = loss_of(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, 3e-3)?.model;
        let loss = loss.into_scalar::<f32>();
        optimizer.observe(loss)?;
        if let Some(event) = optimizer.take_selection_event() {
            println!(
                "step {step}: selected {} because {:?}",
                event.blocks.join(", "),
                event.reason
            );
        }
        if step % 100 == 0 {
            println!("step {step}: loss {loss:.5}");
        }
    }
    println!(
        "{} of {} entries trained at a time, {} bytes of optimizer state (dense Adam: {})",
        optimizer.trained_entries(),
        optimizer.selector().budget().total_entries(),
        optimizer.state_bytes(),
        optimizer.selector().budget().total_entries() * 8,
    );
    Ok(())
}

#[test]
fn it_runs() -> anyhow::Result<()> {
    main()
}
