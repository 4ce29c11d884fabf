//! How long a download waits.
use std::time::Duration;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOuts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of one.
    pub read: Duration,
    /// After a failed try, doubled with each further one that brought nothing.
    pub retry: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_mins(1),
            retry: Duration::from_secs(1),
        }
    }
}
