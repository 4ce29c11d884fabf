//! What every thread that prepares data does first: for those who count its memory apart from the model's.

use std::sync::OnceLock;

static AT_START: OnceLock<fn()> = OnceLock::new();

/// Lets every thread that this crate starts from now on call `hook` before anything else. The first hook stays.
///
/// ```
/// fn here() {
///     println!("{:?} prepares data", std::thread::current().name());
/// }
/// blockllm_data::at_start_of_data_threads(here);
/// ```
pub fn at_start_of_data_threads(hook: fn()) {
    // A second hook is the same one in all that there is to count.
    AT_START.set(hook).ok();
}

/// Called by each such thread.
pub(crate) fn started() {
    if let Some(hook) = AT_START.get() {
        hook();
    }
}
