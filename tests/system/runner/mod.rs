//! The runner as a user meets it: a process with arguments, an exit code, two streams and an output folder.
mod bad_data;
mod bad_options;
mod bad_tokenizers;
mod complete_run;
mod devices;
mod divergence;
mod fixtures;
mod glue;
mod glue_files;
mod memory;
mod process;
mod resume;
