//! The backward pass of a model of your own, layer by layer: `cargo run --release --example layer_wise`.
use blockllm::prelude::*;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Distribution, Tensor};

/// A stack: something below, layers of one kind, something above.
#[derive(Module, Debug)]
struct Tower {
    entry: Linear,
    layers: Vec<Linear>,
    head: Linear,
}

impl Tower {
    fn new(device: &Device) -> Self {
        Self {
            entry: LinearConfig::new(16, 128).init(device),
            layers: (0..6).map(|_| LinearConfig::new(128, 128).init(device)).collect(),
            head: LinearConfig::new(128, 1).init(device),
        }
    }

    /// The mean squared error of `x` (`[B, 16]`) against `y` (`[B, 1]`), as a stack.
    fn loss<'a>(x: &'a Tensor<2>, y: &'a Tensor<2>) -> Stack<'a, Self, 2> {
        Stack::new(
            |model: &Self| gelu(model.entry.forward(x.clone())),
            |model| &model.layers,
            |layer, hidden| hidden.clone() + gelu(layer.forward(hidden)),
            |model, hidden| (model.head.forward(hidden) - y.clone()).square().mean(),
        )
    }
}

fn main() -> anyhow::Result<()> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut model = Tower::new(&device);
    let x = Tensor::<2>::random([256, 16], Distribution::Default, &device);
    let y = x.clone().sin().sum_dim(1);
    let stack = Tower::loss(&x, &y);

    let config = BlockOptimizerConfig::new(0.9);
    let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::new(20)?)?;
    let rate = 3e-3;
    for step in 1..=400 {
        // The first call measures the gradients of all blocks, in one pass that holds one layer's of them.
        model = optimizer.prepare_in_parts(model, |model, take| {
            stack.backward(model, take).map(|(model, _)| model)
        })?;
        // Without a global clip the optimizer uses a layer's gradients at once: then they are gone.
        let (stepped, loss) = stack.backward(model, |model, part| optimizer.take(model, part, rate))?;
        model = optimizer.step(stepped, GradientsParams::new(), rate)?.model;
        let loss = loss.into_scalar::<f32>();
        optimizer.observe(loss)?;
        if step % 100 == 0 {
            println!("step {step}: loss {loss:.5}");
        }
    }
    Ok(())
}
