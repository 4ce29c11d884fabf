//! Batches prepared on a thread beside training.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::{BatchStream, Corpus, Cursor, DataError, LmBatch, LoaderConfig, Tokenizer, data_threads};

type Prepared = Result<(LmBatch, Cursor), DataError>;

/// Train batches without end, `prefetch` of them ready ahead.
///
/// Dropping the loader ends its thread after at most the batch in the making.
pub struct Loader {
    prepared: Option<Receiver<Prepared>>,
    thread: Option<JoinHandle<()>>,
    cursor: Cursor,
}

impl Loader {
    /// A loader that starts with the first batch.
    ///
    /// # Errors
    /// [`DataError::Config`] when a setting is out of range; [`DataError::LoaderStopped`] when the system
    /// starts no thread.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, config: LoaderConfig) -> Result<Self, DataError> {
        let prefetch = config.prefetch;
        Self::start(BatchStream::new(corpus, tokenizer, config)?, prefetch)
    }

    /// A loader that starts with the batch after `cursor`, as [`Loader::cursor`] gave it.
    ///
    /// # Errors
    /// As [`BatchStream::resume`] and [`Loader::new`].
    pub fn resume(
        corpus: Corpus,
        tokenizer: Arc<Tokenizer>,
        config: LoaderConfig,
        cursor: Cursor,
    ) -> Result<Self, DataError> {
        let prefetch = config.prefetch;
        Self::start(BatchStream::resume(corpus, tokenizer, config, cursor)?, prefetch)
    }

    fn start(stream: BatchStream, prefetch: usize) -> Result<Self, DataError> {
        let cursor = stream.cursor().clone();
        let (sender, prepared) = sync_channel(prefetch);
        let thread = Builder::new()
            .name("blockllm-data".to_owned())
            .spawn(move || {
                data_threads::started();
                prepare(stream, &sender);
            })
            .map_err(|_| DataError::LoaderStopped {
                found: "the system could not start a thread",
            })?;
        Ok(Self {
            prepared: Some(prepared),
            thread: Some(thread),
            cursor,
        })
    }

    /// The next batch; waits for the thread where none is ready.
    ///
    /// # Errors
    /// What the thread failed with; after that, [`DataError::LoaderStopped`].
    pub fn next_batch(&mut self) -> Result<LmBatch, DataError> {
        let stopped = DataError::LoaderStopped {
            found: "an earlier error or a panic ended it",
        };
        let prepared = self.prepared.as_ref().and_then(|prepared| prepared.recv().ok());
        let (batch, cursor) = prepared.ok_or(stopped)??;
        self.cursor = cursor;
        Ok(batch)
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
        // The thread's next send fails once nobody receives.
        self.prepared = None;
        if let Some(thread) = self.thread.take() {
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
