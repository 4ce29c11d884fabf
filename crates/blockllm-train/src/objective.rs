//! What a loss is: the one thing that differs between pretraining and fine-tuning.
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// A loss over batches of one kind, for modules of one kind.
pub trait Objective {
    /// The module that is trained.
    type Model: Module;
    /// A batch on the host.
    type Batch;

    /// Mean loss over the counted labels of `batch`, tracked when the module is: `[1]`.
    fn loss(&self, model: &Self::Model, batch: &Self::Batch, device: &Device) -> Tensor<1>;

    /// Summed loss over the counted labels, outside autodiff: `[1]`.
    fn summed_loss(&self, model: &Self::Model, batch: &Self::Batch, device: &Device) -> Tensor<1>;

    /// How many labels count: the weight of this batch in any mean.
    fn labels(&self, batch: &Self::Batch) -> u64;

    /// How many input tokens it holds, padding aside: what throughput is measured in.
    fn tokens(&self, batch: &Self::Batch) -> u64;
}
