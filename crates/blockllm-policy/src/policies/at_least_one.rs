//! The check that intervals and patiences share.
use crate::PolicyError;

/// An interval or a patience of at least one.
pub(super) fn at_least_one(field: &'static str, value: u64) -> Result<u64, PolicyError> {
    if value == 0 {
        return Err(PolicyError::Setting {
            field,
            value: "0".into(),
            mend: "use 1 or more".into(),
        });
    }
    Ok(value)
}
