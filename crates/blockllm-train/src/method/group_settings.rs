//! The settings of groups of parameters, which every method has: learning-rate multipliers, and which weights decay.
use super::Setting;
use blockllm_optim::Groups;

/// A method with groups of parameters.
pub(super) trait Grouped {
    /// What is set for them.
    fn groups(&mut self) -> &mut Groups;
}

/// Their rows.
pub(super) fn table<T: Grouped>() -> Vec<Setting<T>> {
    vec![
        Setting::new(
            "embedding-rate",
            "X",
            "what the learning rate is multiplied with for embeddings",
            |method, given| given.number_into(&mut method.groups().embeddings),
        ),
        Setting::new("head-rate", "X", "the same for the head", |method, given| {
            given.number_into(&mut method.groups().head)
        }),
        Setting::new(
            "vector-rate",
            "X",
            "the same for norms and biases",
            |method, given| given.number_into(&mut method.groups().vectors),
        ),
        Setting::new(
            "matrix-rate",
            "X",
            "the same for all other matrices",
            |method, given| given.number_into(&mut method.groups().matrices),
        ),
        Setting::new(
            "decay",
            "matrices|all",
            "which weights decay where there is a weight decay: all but norms and biases, or all",
            |method, given| given.name_into(&mut method.groups().decay),
        ),
    ]
}
