//! Memory, planned: what a step needs, part by part, before anything is made.
//!
//! A plan replays a run on paper: every buffer that the model, the loss, autodiff and the optimizer make is entered in a
//! ledger with its size in bytes, and leaves it when its last holder lets go. The peak is then the most that was live at one
//! moment, not a sum of the parts' maxima. Nothing is allocated, and no weights are read.

mod advice;
mod backward;
mod change;
mod forward;
mod head;
mod ledger;
mod outcome;
mod parts;
mod scheme;
mod simulation;
mod stack;
mod state;
mod tape;

pub use advice::{Advice, advice};
pub use change::Change;
pub use parts::{Moment, Part, PlanParts};
pub use scheme::{Assumed, PlannedParameter, PlannedStep, Scheme};
pub use stack::ModelShape;
pub use state::{ParameterState, StatePlace};

use crate::{Method, TrainError, WeightType};
use serde::{Deserialize, Serialize};

/// How gradients are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackwardMode {
    /// One graph over all layers.
    #[default]
    Whole,
    /// A graph per layer, which is computed once more from its input.
    LayerWise,
}

impl BackwardMode {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::LayerWise => "layer-wise",
        }
    }
}

/// What a plan is a function of.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// The model.
    pub model: &'a ModelShape,
    /// What is trained.
    pub method: &'a Method,
    /// Rows of a micro-batch.
    pub batch_size: u64,
    /// Tokens of a row.
    pub seq_len: u64,
    /// In what weights, gradients and activations are kept.
    pub weights: WeightType,
    /// Micro-batches per optimizer step.
    pub grad_accum_steps: u64,
    /// Whether gradients are clipped to a global norm, so that all of them wait for it.
    pub clipped: bool,
    /// How gradients are made.
    pub backward: BackwardMode,
    /// Whether the device is the CPU (flex), which computes in f32 whatever the weights are in.
    pub on_host: bool,
    /// Which blocks a selection takes.
    pub selection: Assumed,
}

impl<'a> Workload<'a> {
    /// `method` on `model` with micro-batches of `batch_size` rows of `seq_len` tokens: f32 weights, clipped, a whole
    /// backward pass on a GPU, the typical selection.
    pub fn new(model: &'a ModelShape, method: &'a Method, batch_size: u64, seq_len: u64) -> Self {
        Self {
            model,
            method,
            batch_size,
            seq_len,
            weights: WeightType::F32,
            grad_accum_steps: 1,
            clipped: true,
            backward: BackwardMode::Whole,
            on_host: false,
            selection: Assumed::Typical,
        }
    }
}

/// The most that is live at one kind of moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentPlan {
    /// Which.
    pub moment: Moment,
    /// Bytes, part by part.
    pub parts: PlanParts,
}

/// What a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// Entries of all parameters, those that the method adds included.
    pub parameters: u64,
    /// Entries that a step changes.
    pub trained_entries: u64,
    /// Entries whose gradients a step makes.
    pub gradient_entries: u64,
    /// When the run needs most.
    pub moment: Moment,
    /// Bytes at that moment, part by part.
    pub peak: PlanParts,
    /// The most of each part, whenever it is: the parts of a table that do not add up.
    pub most: PlanParts,
    /// The most at each kind of moment, in the order of a run.
    pub moments: Vec<MomentPlan>,
    /// The most when the trainer looks at a device's pool: behind a loss, behind a backward pass or a layer's, between steps.
    pub sampled: PlanParts,
    /// Bytes when the loss of the first step is there.
    pub after_loss: PlanParts,
    /// Bytes between steps.
    pub rest: PlanParts,
}

impl MemoryPlan {
    /// Plans a run.
    ///
    /// ```
    /// use blockllm_model::llama::LlamaConfig;
    /// use blockllm_train::Method;
    /// use blockllm_train::memory::{MemoryPlan, ModelShape, Part, Workload};
    ///
    /// let model = ModelShape::Llama(LlamaConfig::preset("60m")?);
    /// let method = Method::parse("blockllm:0.95")?;
    /// let plan = MemoryPlan::estimate(&Workload::new(&model, &method, 1, 256))?;
    /// assert!(plan.peak.of(Part::Weights) >= 4 * model.num_parameters());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a setting of the method does not fit the model: a partition or a role that matches nothing, a budget that the
    /// always-trained blocks use up.
    pub fn estimate(workload: &Workload<'_>) -> Result<Self, TrainError> {
        simulation::run(workload)
    }

    /// Bytes at the peak.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockllm_model::llama::LlamaConfig;

    /// GB of Llama 7B in bf16 at 1 x 512 tokens.
    fn seven_billion(method: &str, backward: BackwardMode, clipped: bool) -> f64 {
        let model = ModelShape::Llama(LlamaConfig::preset("7b").unwrap());
        let method = Method::parse(method).unwrap();
        let plan = MemoryPlan::estimate(&Workload {
            weights: WeightType::Bf16,
            backward,
            clipped,
            ..Workload::new(&model, &method, 1, 512)
        });
        plan.unwrap().peak_bytes() as f64 / 1e9
    }

    #[test]
    fn seven_billion_parameters_do_not_overflow_and_need_what_can_be_counted_by_hand() {
        // 6.738e9 entries: 2 bytes of weight and of gradient, 8 of moments, 4 of master.
        let dense = seven_billion("adamw", BackwardMode::LayerWise, true);
        assert!((107.8..108.8).contains(&dense), "{dense}");
        // 5 % of them have state; gradients are those of the selection and of the largest probe.
        let sparse = seven_billion("blockllm:0.95", BackwardMode::LayerWise, true);
        let by_hand = 13.477 + 0.337 * (2.0 + 8.0 + 4.0) + 0.131 * 2.0;
        assert!((sparse - by_hand).abs() < 0.2, "{sparse} {by_hand}");
    }

    #[test]
    fn each_setting_that_saves_memory_does() {
        use BackwardMode::{LayerWise, Whole};
        let falling = [
            seven_billion("blockllm:0.95", Whole, true),
            seven_billion("blockllm:0.95", LayerWise, true),
            seven_billion("blockllm:0.95+state=int8", LayerWise, true),
            seven_billion("blockllm:0.95+state=int8+half=stochastic", LayerWise, true),
            seven_billion("blockllm:0.95+state=int8+half=stochastic", LayerWise, false),
            seven_billion(
                "blockllm:0.95+state=int8+half=stochastic+mask=per-parameter",
                LayerWise,
                false,
            ),
            seven_billion("blockllm:0.99+state=int8+half=stochastic", LayerWise, false),
        ];
        assert!(falling.is_sorted_by(|more, less| more > less), "{falling:?}");
    }

    #[test]
    fn seven_billion_parameters_fit_where_the_paper_has_them() {
        let with_masters = seven_billion("blockllm:0.95+state=int8", BackwardMode::LayerWise, true);
        assert!(with_masters <= 17.0, "{with_masters}");
        let method = "blockllm:0.95+state=int8+half=stochastic";
        let without = seven_billion(method, BackwardMode::LayerWise, false);
        assert!(without <= 15.0, "{without}");
    }

    #[test]
    fn a_plan_says_what_does_not_fit_the_model() {
        let model = ModelShape::Llama(LlamaConfig::new(96, 32, 40, 2, 4).with_tie_word_embeddings(true));
        let method = Method::parse("blockllm:0.9+always=lm_head").unwrap();
        let error = MemoryPlan::estimate(&Workload::new(&model, &method, 1, 8)).unwrap_err();
        assert!(error.to_string().contains("lm_head"), "{error}");
    }
}
