//! Documents tokenized on all cores, ahead of who takes them, in the order in which they were read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{DataError, Tokenizer, data_threads};

/// Documents that are handed to a thread together.
const CHUNK_DOCUMENTS: usize = 16;
/// A chunk of long documents is handed over when it has so much text.
const CHUNK_BYTES: usize = 256 << 10;
/// Text that is under way, at most, beside one chunk.
const AHEAD_BYTES: usize = 16 << 20;

/// What is to become tokens.
pub(crate) enum Work {
    /// A text.
    Text(String),
    /// Tokens that are known already.
    Tokens(Vec<u32>),
}

/// Where work comes from: a document and what belongs to it; `None` at the end.
pub(crate) type NextWork<'a, M> = &'a mut dyn FnMut() -> Result<Option<(M, Work)>, DataError>;

/// A document's tokens, or why it has none; with what belongs to it.
pub(crate) type Tokenized<M> = (M, Result<Vec<u32>, DataError>);

/// Threads, and what they are busy with.
pub(crate) struct TokenizeAhead<M> {
    tokenizer: Arc<Tokenizer>,
    /// Tokens of a document that are ever needed.
    needed: usize,
    threads: usize,
    /// Started with the first document.
    pool: Option<ThreadPool>,
    under_way: VecDeque<Chunk<M>>,
    ready: VecDeque<Tokenized<M>>,
    source: Source,
}

/// How it stands with where work comes from.
enum Source {
    /// There may be more.
    Open,
    /// It failed: told when all that is under way has been given.
    Failed(DataError),
    Ended,
}

impl<M> Drop for TokenizeAhead<M> {
    fn drop(&mut self) {
        // What is under way is soon done; then no thread works for nobody.
        for chunk in self.under_way.drain(..) {
            chunk.tokens.recv().ok();
        }
    }
}

/// Documents that were handed to a thread together.
struct Chunk<M> {
    documents: Vec<(M, Option<Vec<u32>>)>,
    bytes: usize,
    /// The tokens of those that were not known, in order.
    tokens: Receiver<Vec<Result<Vec<u32>, DataError>>>,
}

impl<M> TokenizeAhead<M> {
    /// `threads` at work, or one a core for 0; of each document `needed` tokens are kept.
    pub fn new(tokenizer: Arc<Tokenizer>, needed: usize, threads: usize) -> Self {
        let cores = || available_parallelism().map_or(1, usize::from);
        Self {
            tokenizer,
            needed,
            threads: if threads == 0 { cores() } else { threads },
            pool: None,
            under_way: VecDeque::new(),
            ready: VecDeque::new(),
            source: Source::Open,
        }
    }

    /// The next document; reads ahead from `work` while the threads have room. `None` at the end of `work`.
    ///
    /// # Errors
    /// What `work` fails with, behind the documents before it; [`DataError::LoaderStopped`] when the system starts no
    /// thread or the tokenizer panicked.
    pub fn next(&mut self, work: NextWork<'_, M>) -> Result<Option<Tokenized<M>>, DataError> {
        self.read_ahead(work)?;
        if self.ready.is_empty()
            && let Some(chunk) = self.under_way.pop_front()
        {
            self.take_in(chunk)?;
            self.read_ahead(work)?;
        }
        if let Some(next) = self.ready.pop_front() {
            return Ok(Some(next));
        }
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Failed(error) => Err(error),
            Source::Open | Source::Ended => Ok(None),
        }
    }

    fn read_ahead(&mut self, work: NextWork<'_, M>) -> Result<(), DataError> {
        while matches!(self.source, Source::Open) && self.has_room() {
            let chunk = self.read_chunk(work)?;
            self.under_way.extend(chunk);
        }
        Ok(())
    }

    /// Two chunks for each thread: one that it is busy with, one that waits.
    fn has_room(&self) -> bool {
        let bytes: usize = self.under_way.iter().map(|chunk| chunk.bytes).sum();
        self.under_way.len() < 2 * self.threads && bytes < AHEAD_BYTES
    }

    fn read_chunk(&mut self, work: NextWork<'_, M>) -> Result<Option<Chunk<M>>, DataError> {
        let (mut documents, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        while documents.len() < CHUNK_DOCUMENTS && bytes < CHUNK_BYTES {
            match work() {
                Ok(Some((meta, Work::Tokens(tokens)))) => documents.push((meta, Some(tokens))),
                Ok(Some((meta, Work::Text(text)))) => {
                    bytes += text.len();
                    texts.push(text);
                    documents.push((meta, None));
                }
                Ok(None) => {
                    self.source = Source::Ended;
                    break;
                }
                Err(error) => {
                    self.source = Source::Failed(error);
                    break;
                }
            }
        }
        if documents.is_empty() {
            return Ok(None);
        }
        let (done, tokens) = channel();
        if !texts.is_empty() {
            let (tokenizer, needed) = (Arc::clone(&self.tokenizer), self.needed);
            self.pool()?.spawn_fifo(move || {
                let encode = |text: String| tokenizer.encode_beginning(&text, needed);
                let tokens = texts.into_iter().map(encode).collect();
                // Who has the tokens may rely on it that nobody else has the tokenizer.
                drop(tokenizer);
                done.send(tokens).ok();
            });
        }
        Ok(Some(Chunk {
            documents,
            bytes,
            tokens,
        }))
    }

    fn pool(&mut self) -> Result<&ThreadPool, DataError> {
        if self.pool.is_none() {
            let pool = ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .thread_name(|index| format!("blockllm-tokenize-{index}"))
                .start_handler(|_| data_threads::started())
                // Who waits for the chunk is told: its channel closes.
                .panic_handler(|_| {})
                .build();
            self.pool = Some(pool.map_err(|_| DataError::LoaderStopped {
                found: "the system could not start a thread",
            })?);
        }
        Ok(self.pool.as_ref().expect("started above"))
    }

    fn take_in(&mut self, chunk: Chunk<M>) -> Result<(), DataError> {
        let is_known = chunk.documents.iter().all(|(_, tokens)| tokens.is_some());
        let tokens = match chunk.tokens.recv() {
            Ok(tokens) => tokens,
            Err(_) if is_known => Vec::new(),
            Err(_) => {
                return Err(DataError::LoaderStopped {
                    found: "the tokenizer panicked",
                });
            }
        };
        let mut tokens = tokens.into_iter();
        for (meta, known) in chunk.documents {
            let tokens = known.map(Ok).or_else(|| tokens.next());
            self.ready.extend(tokens.map(|tokens| (meta, tokens)));
        }
        Ok(())
    }
}
