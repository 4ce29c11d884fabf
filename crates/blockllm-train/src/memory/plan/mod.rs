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
mod layer_wise;
mod ledger;
mod memory_plan;
mod outcome;
mod parts;
mod scheme;
mod simulation;
mod size_tests;
mod stack;
mod state;
mod tape;
mod workload;

pub use advice::{Advice, advice};
pub use change::Change;
pub use memory_plan::{MemoryPlan, MomentPlan};
pub use parts::{Moment, Part, PlanParts};
pub use scheme::{Assumed, PlannedParameter, PlannedStep, Scheme};
pub use stack::ModelShape;
pub use state::{ParameterState, StatePlace};
pub use workload::{BackwardMode, Workload};

use crate::TrainError;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, WeightType};
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
    fn a_rank_above_a_matrix_is_refused_as_the_optimizer_does() {
        let model = ModelShape::Llama(LlamaConfig::new(96, 32, 40, 2, 4).with_num_key_value_heads(2));
        for (method, parts) in [
            ("lora:17", ["rank 17", "k_proj", "at most 16"]),
            ("lora:99999", ["rank 99999", "q_proj", "at most 32"]),
            ("galore:33", ["rank 33", "q_proj", "at most 32"]),
            ("apollo-mini:33", ["rank 33", "q_proj", "at most 32"]),
        ] {
            let method = Method::parse(method).unwrap();
            let error = MemoryPlan::estimate(&Workload::new(&model, &method, 1, 8)).unwrap_err();
            let message = error.to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        for method in ["lora:16", "galore:16", "apollo-mini:16"] {
            let method = Method::parse(method).unwrap();
            MemoryPlan::estimate(&Workload::new(&model, &method, 1, 8)).unwrap();
        }
    }
}
