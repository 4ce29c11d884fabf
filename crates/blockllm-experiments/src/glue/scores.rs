//! The scores of a fine-tuning as tables show them: a task's metrics in hundredths.
use blockllm_train::Evaluation;

/// The metric called `name`, in hundredths; NaN where the evaluation has none.
pub(crate) fn score(evaluation: &Evaluation, name: &str) -> f64 {
    100.0 * evaluation.metrics.get(name).copied().unwrap_or(f64::NAN)
}

/// A score with two decimals; a correlation of what does not vary is none.
pub(crate) fn shown_score(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.2}")
    } else {
        "undefined".into()
    }
}
