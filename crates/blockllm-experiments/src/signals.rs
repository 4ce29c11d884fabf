//! SIGINT and SIGTERM: the first one asks the training loop to save and stop, a second one leaves at once.
use anyhow::{Context, Result};
use blockllm_train::Interrupt;
use blockllm_train::tell_line;
use signal_hook::low_level::signal_name;

/// Two signals this close are one: a terminal and a parent process may both pass on the same Ctrl-C.
#[cfg(unix)]
const ONE_PRESS: std::time::Duration = std::time::Duration::from_millis(500);

/// What the first signal is told to do in training.
const TRAINING: &str = "stopping after this step, with a checkpoint; once more leaves at once";

/// A signal has stopped what was heeding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by {}", signal_name(*signal).unwrap_or("a signal"))]
pub struct Stopped {
    /// Its number.
    pub signal: i32,
}

impl Stopped {
    /// An error once `interrupt` has heard a signal.
    ///
    /// # Errors
    /// Itself.
    pub fn check(interrupt: &Interrupt) -> Result<(), Self> {
        interrupt
            .requested()
            .map_or(Ok(()), |signal| Err(Self { signal }))
    }
}

/// Listens to signals from here on. Where nothing is being trained there is nothing to save, and one ends the process as
/// it does any other. `quiet` says nothing: so a process does that was made for one run, whose parent speaks.
///
/// # Errors
/// When the operating system refuses.
pub fn install(quiet: bool) -> Result<Interrupt> {
    install_telling((!quiet).then_some(TRAINING))
}

/// [`install`] where something else than training heeds signals: the first one is answered by `words`, if there are any.
///
/// # Errors
/// When the operating system refuses.
#[cfg(unix)]
pub fn install_telling(words: Option<&'static str>) -> Result<Interrupt> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening to signals")?;
    let interrupt = Interrupt::default();
    let asked = interrupt.clone();
    let listen = move || {
        let mut first: Option<std::time::Instant> = None;
        for signal in &mut signals {
            if first.is_some_and(|first| first.elapsed() < ONE_PRESS) {
                continue;
            }
            if first.is_some() || !asked.is_heeded() {
                // Ends the process by this very signal; what cannot fail here has no other way out.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            if let Some(words) = words {
                tell_line!("\n{words}");
            }
            first = Some(std::time::Instant::now());
            asked.request(signal);
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .context("starting the thread that listens to signals")?;
    Ok(interrupt)
}

/// Listens to Ctrl-C from here on: the first one asks for a stop, a second one leaves at once.
///
/// # Errors
/// When the operating system refuses.
#[cfg(not(unix))]
pub fn install_telling(_words: Option<&'static str>) -> Result<Interrupt> {
    use signal_hook::consts::SIGINT;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&asked))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::clone(&asked)))
        .context("listening to Ctrl-C")?;
    let interrupt = Interrupt::default();
    let loop_asks = interrupt.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while !asked.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            if !loop_asks.is_heeded() {
                std::process::exit(130);
            }
            loop_asks.request(SIGINT);
        })
        .context("starting the thread that listens to Ctrl-C")?;
    Ok(interrupt)
}
