//! What the command line calls a method: the trait that gives a room its names.
use super::training_method::TrainingMethod;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the command line calls a method, or a preset of one.
pub trait NamedMethod: 'static {
    /// What the name gives.
    type Method: TrainingMethod + Clone + Serialize + DeserializeOwned;

    /// The names.
    fn names() -> Vec<&'static str>;

    /// A method of that name for models that are tiny, as the command line has it: tests and the check of GPUs go through these.
    fn example(name: &str) -> String {
        name.to_owned()
    }

    /// The method that `name`, one of [`names`](Self::names), gives with the number behind it, such as `0.95` of
    /// `blockllm:0.95`.
    ///
    /// # Errors
    /// Says what is wrong with the number.
    fn method(name: &str, number: Option<&str>) -> Result<Self::Method, String>;
}
