//! The one error type of this crate: every variant says where, what was expected, what was found and what to
//! do.

use crate::io_mend::mend;
use std::path::PathBuf;

/// What can go wrong between a folder of text and a batch of tokens.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused to read or write a path.
    #[error("cannot {action} {}: {source}{}", path.display(), mend(path, source))]
    Io {
        /// What was being done: `open`, `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A folder or file was given in which no shard was found.
    #[error(
        "no data shard found for {}: looked for {expected} in {}. Give the folder that holds C4's shards, \
         a file of JSON lines, or nothing at all to train on the embedded default corpus",
        path.display(), list(looked_in)
    )]
    NoShards {
        /// What was given.
        path: PathBuf,
        /// The file name patterns that were looked for.
        expected: &'static str,
        /// Where they were looked for, in order.
        looked_in: Vec<PathBuf>,
    },

    /// A shard has no document in it.
    #[error("{} holds no document: expected at least one JSON object a line, such as {{\"text\": \"..\"}}. Make it again, or remove it", path.display())]
    EmptyShard {
        /// The shard.
        path: PathBuf,
    },

    /// A shard is another one than when its corpus was opened.
    #[error(
        "{} was changed while it was trained on: its size, beginning or end is another. Put back what was there and give the same \
         command again, which goes on from the last checkpoint; or train anew on what is there now",
        path.display()
    )]
    ChangedShard {
        /// The shard.
        path: PathBuf,
    },

    /// A gzip shard ends before its compressed stream does.
    #[error("{}, after line {line}: the gzip stream ends too early, so the file is truncated. Download the shard again", path.display())]
    TruncatedShard {
        /// The shard.
        path: PathBuf,
        /// The last whole line that was read, counted from 1 (0: none).
        line: u64,
    },

    /// A shard cannot be decompressed.
    #[error("{}, after line {line}: expected a gzip stream, found {found}. Download the shard again", path.display())]
    CorruptShard {
        /// The shard.
        path: PathBuf,
        /// The last whole line that was read, counted from 1 (0: none).
        line: u64,
        /// What the decompressor said.
        found: String,
    },

    /// A line of a shard is not a JSON object.
    #[error("{}, line {line}: expected one JSON object a line, such as {{\"text\": \"..\"}}, found {found}. Mend or remove the line, or get the file again", path.display())]
    NotJson {
        /// The shard.
        path: PathBuf,
        /// The line, or the row of a parquet file, counted from 1.
        line: u64,
        /// What the parser said.
        found: String,
    },

    /// A line of a shard has no string named `text`.
    #[error(
        "{}, line {line}: expected a string field `text` as in C4, found {found}. \
         Rename the field that holds the document to `text`",
        path.display()
    )]
    NoText {
        /// The shard.
        path: PathBuf,
        /// The line, or the row of a parquet file, counted from 1.
        line: u64,
        /// What the parser said.
        found: String,
    },

    /// A line of a shard is longer than a document may be.
    #[error(
        "{}, line {line}: expected a line of at most {expected} bytes, found a longer one. Is it one JSON object a line? \
         Then raise `max_line_bytes`",
        path.display()
    )]
    LineTooLong {
        /// The shard.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The bound, in bytes.
        expected: usize,
    },

    /// A record of a file is none of the forms of instruction data, or wrong in its own.
    #[error("{}, {place}: expected {expected}, found {found}. Mend or remove the record, or leave such records out", path.display())]
    InstructRecord {
        /// The file.
        path: PathBuf,
        /// `line N` or `record N`, counted from 1.
        place: String,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },

    /// A JSON array breaks off or is damaged, so that no record behind can be found.
    #[error("{}, record {record}: the JSON array is broken ({found}). Mend the file, or write one JSON object a line", path.display())]
    BrokenArray {
        /// The file.
        path: PathBuf,
        /// The record that was read, counted from 1.
        record: u64,
        /// What the parser said.
        found: String,
    },

    /// A name says two things about what a file is for.
    #[error(
        "the name of {} says both {found}: expected one word of train, validation and test. Rename the file",
        path.display()
    )]
    AmbiguousRole {
        /// The file.
        path: PathBuf,
        /// The roles that its name speaks of.
        found: String,
    },

    /// A chat template cannot be read, or has an error.
    #[error(
        "chat template {template}: {found}. Expected a Jinja template as transformers renders it, in `chat_template.jinja` or \
         as `chat_template` in `tokenizer_config.json`"
    )]
    ChatTemplate {
        /// The template's file, or how it is named.
        template: String,
        /// What the library said.
        found: String,
    },

    /// A file is larger than files of its kind are.
    #[error("{} has {found} bytes: expected at most {expected}. Is it the right file?", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        expected: u64,
        /// Its size.
        found: u64,
    },

    /// A split has no document that gives a token.
    #[error(
        "the {split} documents of {corpus} give no token: expected at least one document with text. {mend}"
    )]
    EmptySplit {
        /// `train` or `validation`.
        split: &'static str,
        /// The corpus, as [`crate::Corpus::describe`] names it.
        corpus: String,
        /// What to do.
        mend: &'static str,
    },

    /// The embedded default corpus is read from the workspace's dependencies, and there is no workspace.
    #[error(
        "the embedded default text is the documentation of the dependencies that {} locks, and there is no such file: \
         a program that was copied to another machine does not have it. Give a folder of text, or start it in a \
         checkout after `cargo fetch --locked`",
        path.join("Cargo.lock").display()
    )]
    NoWorkspace {
        /// Where the workspace should be.
        path: PathBuf,
    },

    /// `cargo metadata` did not give the folders of the locked dependencies.
    #[error(
        "cannot list the locked dependencies of {}: {found}. Run `cargo fetch --locked` there once while the network \
         is reachable, or give a folder of C4 shards",
        path.display()
    )]
    CargoMetadata {
        /// The workspace in which cargo ran.
        path: PathBuf,
        /// What cargo said.
        found: String,
    },

    /// The tokenizer library refused a file, a text or a list of ids.
    #[error(
        "tokenizer {tokenizer}: {found}. Expected a `tokenizer.json` of Hugging Face's tokenizers, version 1.0"
    )]
    Tokenizer {
        /// The tokenizer's path, or how it was made.
        tokenizer: String,
        /// What the library said.
        found: String,
    },

    /// A file of settings beside a tokenizer is no JSON.
    #[error("{} is not valid JSON: {found}. Mend the file, or get it again", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        found: String,
    },

    /// It is not known which token of a tokenizer ends a document.
    #[error(
        "tokenizer {tokenizer} does not say which token ends a document: expected `eos_token` in the \
         `tokenizer_config.json` beside it, or a token of one of the names {expected}. Write the former"
    )]
    NoEndToken {
        /// The tokenizer's path, or how it was made.
        tokenizer: String,
        /// The names that were looked for.
        expected: String,
    },

    /// A tokenizer has no token that could fill rows.
    #[error(
        "tokenizer {tokenizer} does not say which token fills a row, and has none that never ends a text: expected \
         `pad_token` in the `tokenizer_config.json` beside it. Write it there"
    )]
    NoPadToken {
        /// The tokenizer's path, or how it was made.
        tokenizer: String,
    },

    /// A text has a token that the model has no embedding for.
    #[error(
        "tokenizer {tokenizer} gave the token `{token}` (id {id}) for a text, but the model has {expected} embeddings. \
         Leave the text out, or set the model's `vocab_size` to the tokenizer's"
    )]
    TokenOutOfRange {
        /// The tokenizer's path, or how it was made.
        tokenizer: String,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The model's embeddings.
        expected: usize,
    },

    /// A tokenizer can produce ids that the model has no embedding for.
    #[error(
        "tokenizer {tokenizer} has a vocabulary of {found}, but the model's `vocab_size` is {expected}. \
         Set the model's `vocab_size` to at least {found}, or choose the model's own tokenizer"
    )]
    VocabularyTooLarge {
        /// The tokenizer's path, or how it was made.
        tokenizer: String,
        /// The model's vocabulary.
        expected: usize,
        /// The embeddings that it needs: the largest id of a word + 1.
        found: usize,
    },

    /// A setting is outside its range.
    #[error("`{field}` is {found}: expected {expected}. Change it")]
    Config {
        /// The setting's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// The values that are allowed.
        expected: &'static str,
    },

    /// A cursor was made by other settings or other data.
    #[error(
        "this run's data order is {expected}, the checkpoint's cursor belongs to {found}: the batches would not \
         continue. Resume with the corpus, tokenizer and data settings that the run started with"
    )]
    CursorMismatch {
        /// The fingerprint of the settings and data at hand.
        expected: String,
        /// The fingerprint in the cursor.
        found: String,
    },

    /// A cursor points to something that the corpus or the settings do not have.
    #[error(
        "the checkpoint's cursor points to {place}, which this run over {corpus} does not have: the data or the \
         cursor was changed. Resume with the very data and checkpoint that the run wrote"
    )]
    CursorPlace {
        /// What the cursor points to.
        place: String,
        /// The corpus, as [`crate::Corpus::describe`] names it.
        corpus: String,
    },

    /// A name is no task of GLUE's.
    #[error("GLUE has no task `{found}`: it has {expected}")]
    UnknownTask {
        /// The name.
        found: String,
        /// All names.
        expected: String,
    },

    /// A folder holds no data of a task.
    #[error(
        "no data of {task} in {}: expected a folder `{task}` with train.tsv and dev.tsv in \
         GLUE's own layout, or the hub's parquet files", path.display()
    )]
    NoTask {
        /// The folder that was given.
        path: PathBuf,
        /// The task.
        task: &'static str,
    },

    /// A file of a task has no row.
    #[error("{} holds no row below its header: expected at least one example. Download the task again", path.display())]
    EmptyTaskFile {
        /// The file.
        path: PathBuf,
    },

    /// The header of a task's file lacks a column.
    #[error(
        "{}, line 1: expected a column `{column}`, found the columns {found}. Give the task's file in GLUE's own layout",
        path.display()
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns that are there.
        found: String,
    },

    /// A row of a task's file is not as GLUE has it.
    #[error("{}, line {line}: expected {expected}, found {found}. Mend or remove the line, or download the task again", path.display())]
    TaskRow {
        /// The file.
        path: PathBuf,
        /// The line, or the row of a parquet file, counted from 1.
        line: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },

    /// A parquet file cannot be read.
    #[error("{} is no readable parquet file ({found}): download it again", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        found: String,
    },

    /// The data of a task that a language model is evaluated on is not as it should be.
    #[error(transparent)]
    Task(Box<crate::tasks::TaskFault>),

    /// A prediction is none of the task's.
    #[error(
        "prediction {row} of {task} is {found}: expected {expected}. Were the predictions made with this task's labels?"
    )]
    Prediction {
        /// The task.
        task: &'static str,
        /// The prediction, counted from 0.
        row: usize,
        /// What a prediction may be.
        expected: String,
        /// What it is.
        found: String,
    },

    /// The thread that prepares batches is gone.
    #[error(
        "the data thread has stopped ({found}): no further batch can come. Start a new loader from the last cursor"
    )]
    LoaderStopped {
        /// Why, as far as it is known.
        found: &'static str,
    },
}

impl DataError {
    /// Whether one document is at fault, and the next one can be had.
    pub(crate) fn is_about_a_document(&self) -> bool {
        matches!(
            self,
            Self::NotJson { .. }
                | Self::NoText { .. }
                | Self::LineTooLong { .. }
                | Self::Tokenizer { .. }
                | Self::TokenOutOfRange { .. }
                | Self::InstructRecord { .. }
        )
    }

    /// Whether a shard is at fault, and the next one can be had.
    pub(crate) fn is_about_a_shard(&self) -> bool {
        matches!(
            self,
            Self::EmptyShard { .. }
                | Self::TruncatedShard { .. }
                | Self::CorruptShard { .. }
                | Self::BrokenArray { .. }
        )
    }

    /// Wraps an I/O error with what was being done and where.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}
