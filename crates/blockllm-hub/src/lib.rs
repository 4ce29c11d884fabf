//! Model repositories of the Hugging Face hub: found in its cache, or downloaded into it.
//!
//! ```no_run
//! use blockllm_hub::{Hub, Repository};
//! let hub = Hub::from_env()?;
//! let repository: Repository = "HuggingFaceTB/SmolLM2-135M-Instruct".parse()?;
//! let folder = hub.model(&repository, &mut |progress| {
//!     eprintln!("{}: {} of {} bytes", progress.file, progress.done, progress.total);
//! })?;
//! println!("{}", folder.display());
//! # Ok::<(), blockllm_hub::HubError>(())
//! ```
//!
//! The cache is that of Python's `huggingface_hub`, which finds what is downloaded here and the other way round: `blobs/HASH`,
//! `snapshots/COMMIT/FILE` as links to these, `refs/main`. Only what a model of ours is made of is taken: configuration,
//! safetensors, tokenizer, template. A download that broke off goes on where it was; every file is checked against the hash
//! that the hub names for it before it gets its name. A snapshot that lacks weights or configuration counts for none.
//!
//! From the environment come `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_TOKEN`. A token goes to the
//! endpoint's host alone, wherever that redirects to; it is never printed or written.

mod cache;
mod download;
mod error;
mod hash;
mod hub;
mod listing;
mod repository;
mod time_outs;

pub use cache::Cache;
pub use download::Progress;
pub use error::HubError;
pub use hub::Hub;
pub use repository::{NameError, Repository};
pub use time_outs::TimeOuts;
