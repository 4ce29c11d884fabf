//! Means and their standard errors, as the harness reckons them.

/// The mean; no number where there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard error of the mean by the sample's own spread, `sqrt(sum (x - mean)^2 / (n - 1) / n)`; none for fewer than two
/// values.
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt() / count.sqrt())
}

/// The standard error of the mean over several parts of a task, each with its size and its own standard error: by the pooled
/// variance within the parts. None where no part has two values.
pub fn pooled_standard_error(parts: &[(usize, Option<f64>)]) -> Option<f64> {
    let total: f64 = parts.iter().map(|(size, _)| *size as f64).sum();
    let free = total - parts.len() as f64;
    let of_part = |(size, error): &(usize, Option<f64>)| {
        let size = *size as f64;
        (size - 1.0) * error.unwrap_or(0.0).powi(2) * size
    };
    let variance = parts.iter().map(of_part).sum::<f64>() / free;
    (free > 0.0).then(|| (variance / total).sqrt())
}
