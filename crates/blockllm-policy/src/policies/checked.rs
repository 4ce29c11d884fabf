//! The checks that settings of policies share.
use crate::PolicyError;
use std::fmt::Display;

/// `value`, where it `is_right`.
pub(super) fn checked<T: Display>(
    field: &'static str,
    value: T,
    is_right: impl FnOnce(&T) -> bool,
    mend: &str,
) -> Result<T, PolicyError> {
    if is_right(&value) {
        return Ok(value);
    }
    Err(PolicyError::Setting {
        field,
        value: value.to_string(),
        mend: mend.into(),
    })
}

/// An interval, a patience or a number of blocks of at least one.
pub(super) fn at_least_one<T: Display + PartialOrd + From<u8>>(
    field: &'static str,
    value: T,
) -> Result<T, PolicyError> {
    checked(field, value, |value| *value >= T::from(1), "use 1 or more")
}
