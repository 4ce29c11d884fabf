//! How numbers look in a report: bytes, perplexities, rates, and mean ± standard deviation over seeds.

const KIB: f64 = 1024.0;
/// What stands where no value is known.
pub const UNKNOWN: &str = "–";

/// Bytes in the largest unit that gives at least 1, with two decimals: `1.50 GiB`.
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    let units = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB)];
    // Compared after rounding, so that 1048575 bytes are `1.00 MiB` and not `1024.00 KiB`.
    match units.iter().find(|(_, size)| value / size >= 0.999_995) {
        Some((unit, size)) => format!("{:.2} {unit}", value / size),
        None => format!("{bytes} B"),
    }
}

/// A perplexity with two decimals; one that is not finite has diverged.
pub fn perplexity(value: f64) -> String {
    decimals(value, 2)
}

/// A loss with four decimals; one that is not finite has diverged.
pub fn loss(value: f64) -> String {
    decimals(value, 4)
}

/// A share between 0 and 1 in per cent with one decimal: `5.0 %`.
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", share * 100.0)
    } else {
        UNKNOWN.to_owned()
    }
}

/// Tokens in a second, whole.
pub fn tokens_per_second(value: f64) -> String {
    if value.is_finite() {
        thousands(value.round() as i64)
    } else {
        UNKNOWN.to_owned()
    }
}

/// A time as hours, minutes and seconds: `3:58:07`, or `4:05` below an hour.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

/// Milliseconds with one decimal.
pub fn milliseconds(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1}")
    } else {
        UNKNOWN.to_owned()
    }
}

/// A count with commas between its thousands: `131,072`.
pub fn count(value: u64) -> String {
    thousands(value as i64)
}

/// A learning rate as short as it can be told: `1e-3`, `0.01`.
pub fn learning_rate(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// Mean ± sample standard deviation over seeds; one seed has no deviation, and no seed no value.
pub fn mean_and_deviation(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let mean = mean(values);
    match values.len() {
        0 => UNKNOWN.to_owned(),
        1 => show(mean),
        _ if !mean.is_finite() => show(mean),
        _ => format!("{} ± {}", show(mean), show(sample_deviation(values))),
    }
}

/// The arithmetic mean; NaN when there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation with n - 1 in the denominator; NaN below two values.
pub fn sample_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if values.len() < 2 {
        f64::NAN
    } else {
        (squares / (values.len() - 1) as f64).sqrt()
    }
}

fn decimals(value: f64, places: usize) -> String {
    if value.is_finite() {
        format!("{value:.places$}")
    } else {
        "diverged".to_owned()
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_hours_where_there_are_some() {
        assert_eq!([0.4, 245.0, 14_287.0].map(duration), ["0:00", "4:05", "3:58:07"]);
    }

    #[test]
    fn bytes_are_told_in_their_largest_unit() {
        let shown = [0, 1023, 1024, 1_048_575, 1_048_576, 1_610_612_736].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.00 KiB", "1.00 MiB", "1.00 MiB", "1.50 GiB"]
        );
    }

    #[test]
    fn a_perplexity_that_is_not_finite_has_diverged() {
        assert_eq!(perplexity(34.056), "34.06");
        assert_eq!(perplexity(f64::INFINITY), "diverged");
        assert_eq!(mean_and_deviation(&[30.0, f64::NAN], perplexity), "diverged");
    }

    #[test]
    fn seeds_are_told_as_mean_and_sample_deviation() {
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0], perplexity), "2.00 ± 1.00");
        assert_eq!(mean_and_deviation(&[2.5], perplexity), "2.50");
        assert_eq!(mean_and_deviation(&[], perplexity), UNKNOWN);
    }

    #[test]
    fn rates_and_times_are_as_precise_as_they_are_useful() {
        assert_eq!(tokens_per_second(12_345.6), "12,346");
        assert_eq!(milliseconds(7.04), "7.0");
        assert_eq!(milliseconds(2134.04), "2134.0");
        assert_eq!(percent(0.1), "10.0 %");
        assert_eq!(learning_rate(0.001), "1e-3");
        assert_eq!(learning_rate(0.01), "0.01");
        assert_eq!(count(131_072), "131,072");
    }
}
