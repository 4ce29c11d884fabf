//! The figures of an evaluation, and how those of batches become one.
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The figures of a whole set of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss per counted label: in nats for classes and tokens, squared for scores.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Labels counted.
    pub labels: u64,
    /// The standard error of the loss, from its spread over batches, where there are several: what another sample of so many
    /// texts would change. Absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Further figures by name: `perplexity` of a language model, the metrics of a task.
    #[serde(deserialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
}

impl Evaluation {
    /// `exp(loss)`, which means something where the loss is a cross entropy.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }

    /// The standard error of [`perplexity`](Self::perplexity), to first order.
    pub fn perplexity_error(&self) -> Option<f64> {
        self.standard_error.map(|error| error * self.perplexity())
    }
}

/// JSON has no NaN: it is written as null, and read back as what it was.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// [`number`] for values of names.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let found = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    let numbers = found
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or(f64::NAN)));
    Ok(numbers.collect())
}

/// The mean over all labels of losses that were summed over batches with so many labels each, and its standard error.
pub(crate) fn of_sums(sums: &[f64], counts: &[u64]) -> Evaluation {
    let labels: u64 = counts.iter().sum();
    let loss = sums.iter().sum::<f64>() / labels as f64;
    let counted = counts.iter().filter(|count| **count > 0).count() as f64;
    let residuals = sums
        .iter()
        .zip(counts)
        .map(|(sum, count)| sum - loss * *count as f64);
    let squares: f64 = residuals.map(|residual| residual * residual).sum();
    Evaluation {
        loss,
        labels,
        // Of a ratio of two sums over batches.
        standard_error: (counted > 1.0).then(|| (squares * counted / (counted - 1.0)).sqrt() / labels as f64),
        metrics: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_mean_over_batches() {
        // Batches of one size: the deviation of their means over the root of their number.
        let evaluation = of_sums(&[10.0, 14.0, 12.0, 0.0], &[2, 2, 2, 0]);
        assert!((evaluation.loss - 6.0).abs() < 1e-12);
        let error = evaluation.standard_error.unwrap();
        assert!((error - 1.0 / 3.0_f64.sqrt()).abs() < 1e-12, "{error}");
        assert!((evaluation.perplexity_error().unwrap() - error * 6.0_f64.exp()).abs() < 1e-9);
        assert_eq!(of_sums(&[10.0], &[2]).standard_error, None);
    }

    #[test]
    fn a_metric_that_is_no_number_is_read_back_as_none() {
        let evaluation = Evaluation {
            loss: 1.5,
            labels: 3,
            standard_error: None,
            metrics: BTreeMap::from([("Pearson".to_owned(), f64::NAN)]),
        };
        let text = serde_json::to_string(&evaluation).unwrap();
        let read: Evaluation = serde_json::from_str(&text).unwrap();
        assert!(
            read.metrics["Pearson"].is_nan() && read.loss.to_bits() == 1.5_f64.to_bits(),
            "{text}"
        );
    }
}
