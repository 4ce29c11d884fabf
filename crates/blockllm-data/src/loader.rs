//! Batches prepared on a thread beside training.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::{
    BatchStream, Corpus, Cursor, DataError, LmBatch, LoaderConfig, Skipped, Tokenizer, data_threads,
};

type Prepared = Result<(LmBatch, Cursor), DataError>;

/// Train batches without end, `prefetch` of them ready ahead.
///
/// Nothing is read before the first batch is asked for. Dropping the loader ends its thread after at most the batch in the
/// making.
pub struct Loader {
    state: State,
    prefetch: usize,
    cursor: Cursor,
    waited: Duration,
}

enum State {
    /// Not begun.
    Waiting(Box<BatchStream>),
    Running(Receiver<Prepared>, JoinHandle<()>),
    Stopped,
}

impl Loader {
    /// A loader that starts with the first batch.
    ///
    /// # Errors
    /// As [`BatchStream::new`].
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: LoaderConfig) -> Result<Self, DataError> {
        let prefetch = config.prefetch;
        Ok(Self::of(BatchStream::new(corpus, tokenizer, config)?, prefetch))
    }

    /// A loader that starts with the batch after `cursor`, as [`Loader::cursor`] gave it.
    ///
    /// # Errors
    /// As [`BatchStream::resume`].
    pub fn resume(
        corpus: Corpus,
        tokenizer: Arc<Tokenizer>,
        config: LoaderConfig,
        cursor: Cursor,
    ) -> Result<Self, DataError> {
        let prefetch = config.prefetch;
        Ok(Self::of(
            BatchStream::resume(corpus, tokenizer, config, cursor)?,
            prefetch,
        ))
    }

    fn of(stream: BatchStream, prefetch: usize) -> Self {
        Self {
            cursor: stream.cursor().clone(),
            state: State::Waiting(Box::new(stream)),
            prefetch,
            waited: Duration::ZERO,
        }
    }

    /// Begins to prepare batches; the first [`Loader::next_batch`] does it else.
    ///
    /// # Errors
    /// [`DataError::LoaderStopped`] when the system starts no thread.
    pub fn start(&mut self) -> Result<(), DataError> {
        self.state = match std::mem::replace(&mut self.state, State::Stopped) {
            State::Waiting(stream) => {
                let (sender, prepared) = sync_channel(self.prefetch);
                let thread = Builder::new()
                    .name("blockllm-data".to_owned())
                    .spawn(move || {
                        data_threads::started();
                        prepare(*stream, &sender);
                    })
                    .map_err(|_| DataError::LoaderStopped {
                        found: "the system could not start a thread",
                    })?;
                State::Running(prepared, thread)
            }
            begun => begun,
        };
        Ok(())
    }

    /// The next batch; waits for the thread where none is ready.
    ///
    /// # Errors
    /// What the thread failed with; after that, [`DataError::LoaderStopped`].
    pub fn next_batch(&mut self) -> Result<LmBatch, DataError> {
        let asked = Instant::now();
        self.start()?;
        let prepared = match &self.state {
            State::Running(prepared, _) => prepared.recv().ok(),
            _ => None,
        };
        self.waited += asked.elapsed();
        let (batch, cursor) = prepared.ok_or(DataError::LoaderStopped {
            found: "an earlier error or a panic ended it",
        })??;
        self.cursor = cursor;
        Ok(batch)
    }

    /// How long [`Loader::next_batch`] has waited for batches, over all calls: time in which training stood still.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// What was left out of the batches so far, over all resumptions.
    pub fn skipped(&self) -> Skipped {
        self.cursor.skipped
    }

    /// Drops the next `batches` batches.
    ///
    /// # Errors
    /// As [`Loader::next_batch`].
    pub fn skip(&mut self, batches: u64) -> Result<(), DataError> {
        (0..batches).try_for_each(|_| self.next_batch().map(drop))
    }

    /// The place after the last batch that [`Loader::next_batch`] gave, however many are ready beyond it.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Loader")
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let State::Running(prepared, thread) = std::mem::replace(&mut self.state, State::Stopped) {
            // The thread's next send fails once nobody receives.
            drop(prepared);
            // A panic of the thread has been reported by its own message, and by `next_batch`.
            thread.join().ok();
        }
    }
}

fn prepare(mut stream: BatchStream, sender: &SyncSender<Prepared>) {
    loop {
        let prepared = stream.next_batch().map(|batch| (batch, stream.cursor().clone()));
        let failed = prepared.is_err();
        if sender.send(prepared).is_err() || failed {
            return;
        }
    }
}
