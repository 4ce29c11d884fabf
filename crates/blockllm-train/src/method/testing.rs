//! What the tests of methods share: a method by its name, a tiny language model on paper and on a device, what is refused.
#![cfg(test)]

use super::{FineTuning, LearningRates, Method, RunSettings, TrainingMethod};
use crate::memory::plan::{
    Assumed, MemoryPlan, ModelShape, ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace,
    Workload,
};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_model::ParameterKind;
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_optim::NormKind;
use burn::tensor::Device;

/// Weights in f32, on a GPU.
pub(super) const FULL: StatePlace = StatePlace {
    half: false,
    on_host: false,
};

/// Weights in bf16, on a GPU.
pub(super) const HALF: StatePlace = StatePlace {
    half: true,
    on_host: false,
};

fn own<T: TrainingMethod + Clone>(method: &Method) -> T {
    method.algorithm.get::<T>().unwrap().clone()
}

/// The settings that `text` gives.
pub(super) fn named<T: TrainingMethod + Clone>(text: &str) -> T {
    own(&Method::parse(text).unwrap())
}

/// The same when it fine-tunes `parts`.
pub(super) fn fine_tuned<T: TrainingMethod + Clone>(text: &str, parts: &FineTuning) -> T {
    own(&Method::parse(text).unwrap().fine_tuning(parts))
}

/// The same in a run that sets all that a run can set.
pub(super) fn for_run<T: TrainingMethod + Clone>(text: &str) -> T {
    let settings = RunSettings {
        patience: 40,
        partition: "module",
        always: &["score".to_owned()],
        never: &["model.norm".to_owned()],
        norm: NormKind::Grad,
        probes: 7,
    };
    own(&Method::parse(text).unwrap().for_run(&settings).unwrap())
}

/// The same with a patience of 40.
pub(super) fn with_patience<T: TrainingMethod + Clone>(text: &str) -> T {
    own(&Method::parse(text).unwrap().with_patience(40))
}

/// What a run sets that the method heeds.
pub(super) fn heeded(text: &str) -> Vec<&'static str> {
    let method = Method::parse(text).unwrap();
    let keys = ["always", "never", "norm", "partition", "probes"].into_iter();
    keys.filter(|key| method.algorithm.heeds(key)).collect()
}

/// The learning rates of the method.
pub(super) fn rates(text: &str) -> LearningRates {
    Method::parse(text).unwrap().algorithm.learning_rates()
}

/// Checks that `text` is no method, and that the error says `told`.
pub(super) fn assert_refused(text: &str, told: &str) {
    let message = Method::parse(text).unwrap_err().to_string();
    assert!(message.contains(told), "{text}: {message}");
}

/// Checks that the number behind `name`, the `what`, can be nothing but a whole one of 1 or more.
pub(super) fn assert_counts(name: &str, what: &str) {
    for number in ["0", "-1", "2.5", "few", ""] {
        let told = format!("the {what} `{number}` is not a whole number of 1 or more");
        assert_refused(&format!("{name}:{number}"), &told);
    }
}

/// Checks that the number behind `name` can be nothing but a sparsity.
pub(super) fn assert_sparsities(name: &str) {
    for (number, told) in [
        ("1", "the sparsity 1 is outside [0, 1)"),
        ("-0.1", "the sparsity -0.1 is outside [0, 1)"),
        ("nan", "the sparsity NaN is outside [0, 1)"),
        ("most", "the sparsity `most` is not a number"),
    ] {
        assert_refused(&format!("{name}:{number}"), told);
    }
}

/// A parameter on paper.
pub(super) fn parameter(path: &str, shape: &[usize], kind: ParameterKind) -> PlannedParameter {
    PlannedParameter {
        path: path.to_owned(),
        shape: shape.to_vec(),
        kind,
        entries: shape.iter().map(|side| *side as u64).product(),
        free: true,
    }
}

/// A language model of two layers, each with a norm and a matrix; 164 entries.
pub(super) fn parameters() -> Vec<PlannedParameter> {
    vec![
        parameter("model.embed_tokens.weight", &[12, 4], ParameterKind::Table),
        parameter(
            "model.layers.0.self_attn.q_proj.weight",
            &[4, 6],
            ParameterKind::Linear,
        ),
        parameter(
            "model.layers.0.input_layernorm.weight",
            &[4],
            ParameterKind::Vector,
        ),
        parameter(
            "model.layers.1.mlp.up_proj.weight",
            &[4, 8],
            ParameterKind::Linear,
        ),
        parameter(
            "model.layers.1.input_layernorm.weight",
            &[4],
            ParameterKind::Vector,
        ),
        parameter("model.norm.weight", &[4], ParameterKind::Vector),
        parameter("lm_head.weight", &[4, 12], ParameterKind::Linear),
    ]
}

/// What `method` trains of `parameters` in a step of 100 tokens, which are more than a table has rows.
pub(super) fn plan(
    method: &Method,
    parameters: Vec<PlannedParameter>,
    assumed: &Assumed,
) -> Result<Scheme, TrainError> {
    let step = PlannedStep {
        assumed,
        tokens: 100,
        is_tied: parameters
            .iter()
            .all(|parameter| parameter.path != "lm_head.weight"),
    };
    method.algorithm.plan(parameters, &step)
}

/// What the method trains of [`parameters`].
pub(super) fn planned(text: &str) -> Scheme {
    plan(&Method::parse(text).unwrap(), parameters(), &Assumed::Typical).unwrap()
}

/// The same where the block called `block` is selected.
pub(super) fn planned_with(text: &str, block: &str) -> Scheme {
    let selected = Assumed::Blocks(vec![block.to_owned()]);
    plan(&Method::parse(text).unwrap(), parameters(), &selected).unwrap()
}

/// The same of a model whose head is the embedding.
pub(super) fn planned_tied(text: &str) -> Scheme {
    let mut tied = parameters();
    tied.pop();
    plan(&Method::parse(text).unwrap(), tied, &Assumed::Typical).unwrap()
}

/// What the method keeps of `parameter`, of which `kept` entries are trained.
pub(super) fn planned_state(
    text: &str,
    parameter: &PlannedParameter,
    kept: u64,
    place: StatePlace,
) -> ParameterState {
    let method = Method::parse(text).unwrap();
    method.algorithm.planned_state(parameter, kept, place)
}

/// Bytes that the method keeps of all that `scheme` trains, with weights in f32.
pub(super) fn state_bytes(text: &str, scheme: &Scheme) -> u64 {
    let state = |param: &usize| {
        let parameter = &scheme.parameters[*param];
        let kept = scheme.kept.get(param).copied().unwrap_or(parameter.entries);
        planned_state(text, parameter, kept, FULL).bytes.total()
    };
    let trained = scheme.selected.iter().chain(&scheme.always);
    trained.map(state).sum::<u64>() + scheme.momenta
}

/// A Llama of two layers.
fn llama() -> LlamaConfig {
    LlamaConfig::new(12, 8, 12, 2, 2)
}

/// The optimizer of `method` for a Llama of two layers: 21 parameters, 14 of them matrices of attention and MLP.
pub(super) fn optimizer(method: &Method) -> Result<Box<dyn TrainingOptimizer<LlamaForCausalLM>>, TrainError> {
    let model = llama().init(0, &Device::flex().autodiff());
    let config = TrainConfig::default();
    let model = method.adapt(model, &config)?;
    method.optimizer(&model, &config)
}

/// Paths of what that optimizer may ever change.
pub(super) fn trainable(method: &Method) -> Vec<String> {
    let optimizer = optimizer(method).unwrap();
    let paths = optimizer.trainable_parameters().into_iter();
    paths.map(String::from).collect()
}

/// Checks that the method is read, and refused by a plan as by the making of its optimizer with an error that says `told`.
pub(super) fn assert_not_made(text: &str, told: &str) {
    assert_method_not_made(&Method::parse(text).unwrap(), told);
}

/// The same of a method whose settings need not come from a name.
pub(super) fn assert_method_not_made(method: &Method, told: &str) {
    let planned = plan(method, parameters(), &Assumed::Typical).map(|_| ());
    let made = optimizer(method).map(|_| ());
    for (place, refused) in [("plan", planned), ("optimizer", made)] {
        let message = refused.expect_err(place).to_string();
        assert!(message.contains(told), "{}, {place}: {message}", method.label);
    }
}

/// Checks that a plan of a Llama refuses the method by the very words of its optimizer, which are of the `pattern`.
pub(super) fn assert_refused_alike(method: &Method, pattern: &str) {
    let model = ModelShape::Llama(llama());
    let planned = MemoryPlan::estimate(&Workload::new(&model, method, 1, 8)).unwrap_err();
    let made = optimizer(method).map(|_| ()).unwrap_err();
    assert_eq!(planned.to_string(), made.to_string());
    let told = format!("the target pattern `{pattern}` matches none of the");
    assert!(made.to_string().contains(&told), "{made}");
}
