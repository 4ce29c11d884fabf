//! The runner as a user meets it: a process with arguments, an exit code, two streams and an output folder.
mod ablations;
#[cfg(all(unix, feature = "wgpu"))]
mod alone;
mod bad_data;
mod bad_documents;
mod bad_options;
mod bad_tokenizers;
#[cfg(unix)]
mod closed_streams;
mod complete_run;
mod delta;
mod devices;
mod divergence;
mod evaluate;
mod faults;
mod finetune;
mod finetune_manners;
mod finetune_settings;
pub mod fixtures;
mod folders;
#[cfg(unix)]
mod full_disk;
mod glue;
mod glue_files;
mod kills;
mod memory;
mod odd_models;
mod own_method;
mod plan;
mod process;
pub mod promises;
mod resume;
mod talk;
