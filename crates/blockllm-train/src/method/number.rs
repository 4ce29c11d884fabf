//! The number behind a method's name, such as `0.95` of `blockllm:0.95`.

/// The number behind a name as the `what` in `[0, 1)`, or else the default.
///
/// # Errors
/// When it is none.
pub fn share(what: &str, value: Option<&str>, default: f64) -> Result<f64, String> {
    let number = value.map_or(Ok(default), |value| float(what, value))?;
    if (0.0..1.0).contains(&number) {
        return Ok(number);
    }
    Err(format!("the {what} {number} is outside [0, 1)"))
}

/// The number behind a name as the `what`, a whole number of 1 or more, or else the default.
///
/// # Errors
/// When it is none.
pub fn count(what: &str, value: Option<&str>, default: usize) -> Result<usize, String> {
    let Some(value) = value else { return Ok(default) };
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("the {what} `{value}` is not a whole number of 1 or more"))
}

/// A number of any kind, as the `what`.
pub(super) fn float(what: &str, value: &str) -> Result<f64, String> {
    value
        .parse()
        .map_err(|_| format!("the {what} `{value}` is not a number"))
}
