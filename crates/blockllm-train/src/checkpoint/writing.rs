//! A checkpoint that is being written, in line or on a thread of its own.

use crate::TrainError;
use std::thread::{Builder, JoinHandle};

/// The writing of one checkpoint; whoever drops it waits for its end.
#[derive(Debug)]
pub(crate) struct Writing {
    step: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Beside(JoinHandle<Result<(), TrainError>>),
    Done(Result<(), TrainError>),
    Told,
}

impl Writing {
    /// Has the checkpoint of `step` written by `write`, which `beside` training has its own thread for.
    pub fn start(
        step: u64,
        beside: bool,
        write: impl FnOnce() -> Result<(), TrainError> + Send + 'static,
    ) -> Self {
        let state = if beside {
            let thread = Builder::new().name("checkpoint".to_owned());
            match thread.spawn(write) {
                Ok(handle) => State::Beside(handle),
                // Without threads to be had nothing was saved, and training goes on as with a full disk.
                Err(source) => State::Done(Err(TrainError::File {
                    path: "a thread for the checkpoint".into(),
                    source,
                })),
            }
        } else {
            State::Done(write())
        };
        Self { step, state }
    }

    /// The step that it is of.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Whether nothing has to be waited for.
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Beside(handle) => handle.is_finished(),
            State::Done(_) | State::Told => true,
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What went wrong.
    pub fn finish(mut self) -> Result<(), TrainError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), TrainError> {
        match std::mem::replace(&mut self.state, State::Told) {
            State::Beside(handle) => handle
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            State::Done(result) => result,
            State::Told => Ok(()),
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Half a checkpoint would be left by a process that ends now. The error of the run itself is the one to tell.
        if let State::Beside(handle) = std::mem::replace(&mut self.state, State::Told) {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_checkpoint_beside_training_is_waited_for_only_when_it_is_finished_or_dropped() {
        for dropped in [false, true] {
            let (go, wait) = channel();
            let (wrote, written) = channel();
            let writing = Writing::start(7, true, move || {
                wait.recv().expect("the test says go");
                wrote.send(()).expect("the test listens");
                Ok(())
            });
            assert!(!writing.is_over() && written.try_recv().is_err());
            go.send(()).expect("the writer listens");
            if dropped {
                drop(writing);
            } else {
                assert_eq!(writing.step(), 7);
                writing.finish().expect("nothing went wrong");
            }
            assert!(written.try_recv().is_ok());
        }
    }

    #[test]
    fn what_went_wrong_is_told_by_the_end_of_either_kind() {
        for beside in [false, true] {
            let writing = Writing::start(1, beside, || Err(TrainError::Logits));
            assert!(matches!(writing.finish(), Err(TrainError::Logits)));
        }
    }
}
