//! The numbers that say how tokens are chosen, each with its range, as the command line has them.

/// 0 or more.
pub(super) fn temperature(text: &str) -> Result<f64, String> {
    number(text, "a number of 0 or more, such as 0.7", |found| {
        found.is_finite() && found >= 0.0
    })
}

/// More than 0, at most 1.
pub(super) fn top_p(text: &str) -> Result<f64, String> {
    number(text, "a share above 0 and at most 1, such as 0.9", |found| {
        found > 0.0 && found <= 1.0
    })
}

/// From 0 to 1.
pub(super) fn min_p(text: &str) -> Result<f64, String> {
    number(text, "a share from 0 to 1, such as 0.1", |found| {
        (0.0..=1.0).contains(&found)
    })
}

/// More than 0, also in f32, which logits are in.
pub(super) fn penalty(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 that f32 can hold, such as 1.1", |found| {
        let found = found as f32;
        found.is_normal() && found > 0.0
    })
}

/// The number in `text`, where it `fits`; else what to use.
fn number(text: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|found| fits(*found));
    found.ok_or_else(|| format!("use {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused_with_it() {
        let asked = [temperature, top_p, min_p, penalty];
        for right in ["0.5", "1"] {
            assert!(asked.iter().all(|ask| ask(right).is_ok()), "{right}");
        }
        for wrong in ["nan", "-1", "inf", "x", ""] {
            for ask in asked {
                assert!(ask(wrong).unwrap_err().starts_with("use a "), "{wrong}");
            }
        }
        assert!(temperature("0").is_ok() && min_p("0").is_ok());
        assert!(top_p("0").is_err() && penalty("1e-300").is_err());
    }
}
