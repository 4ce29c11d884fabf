//! What training has changed of a model, as a file: a *delta* between two folders of models.
//!
//! [`diff`] writes the changed entries of a tuned model against its base, bit by bit, into one safetensors file, with the
//! SHA-256 of both and of itself. [`apply`] gives the tuned model back from the base, [`stack`] adds up the changes of several deltas of one
//! base with weights, and [`DeltaFile::summary`] tells what is in one. All of them take models in one file or in shards, in any
//! number format, read a few MiB at a time, and write whole results or none.
//!
//! A delta of a `BlockLLM` run is as large as what the run has touched: a changed entry needs its value and an eighth of a byte
//! (in blocks that are dense) to one byte and a bit (scattered, at 5 %) for its position; [`Encoding`] tells how. Where the base is kept in bf16
//! and the tuned model in f32, entries that are the base's but for their format are not changed ones, and cost nothing.
//!
//! ```no_run
//! use std::path::Path;
//! let [base, tuned, file] = ["llama", "llama-tuned", "tuned.delta.safetensors"].map(Path::new);
//! let summary = blockllm_delta::diff(base, tuned, file, &mut |_, _| ())?;
//! println!("{} of {} entries in {} bytes", summary.changed(), summary.entries, summary.bytes);
//! blockllm_delta::apply(base, &[file.to_path_buf()], Path::new("llama-again"), &mut |_, _| ())?;
//! # Ok::<(), blockllm_delta::DeltaError>(())
//! ```
//!
//! # The file, for other tools
//!
//! Any safetensors reader opens it; [`DeltaFile`] lists the entries and the hashes that cover every bit of them. In Python, what changed of tensor `t` of shape `shape`:
//!
//! ```python
//! values = delta["values/" + t]
//! if "bitmap/" + t in delta:
//!     positions = np.flatnonzero(np.unpackbits(delta["bitmap/" + t], bitorder="little"))
//! elif "gaps/" + t in delta:                    # unchanged entries before each changed one, LEB128
//!     raw = delta["gaps/" + t].astype(np.int64)
//!     ends = np.flatnonzero(raw < 128)          # the last byte of each number
//!     starts = np.append(0, ends[:-1] + 1)
//!     shifts = 7 * (np.arange(len(raw)) - np.repeat(starts, ends - starts + 1))
//!     positions = np.cumsum(np.add.reduceat((raw & 127) << shifts, starts) + 1) - 1
//! else:
//!     positions = np.arange(len(values))        # all of them
//! base[t].reshape(-1)[positions] = values
//! ```

mod apply;
mod bytes;
mod compare;
mod delta_file;
mod diff;
mod digest;
mod dtype;
mod error;
mod folder;
mod meter;
mod model;
mod order;
mod output;
mod overlap;
mod patch;
mod positions;
mod seal;
mod sections;
mod stack;
mod summary;
mod unfinished;

pub use apply::{Applied, apply};
pub use delta_file::DeltaFile;
pub use diff::diff;
pub use error::DeltaError;
pub use positions::Encoding;
pub use stack::{Layer, Overlap, Stacked, stack};
pub use summary::{Summary, TensorSummary};
