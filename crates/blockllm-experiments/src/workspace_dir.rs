//! Where the embedded defaults are made from: the workspace whose locked dependencies have the documentation.
use std::path::Path;

/// The workspace that this runner was built from, or else the folder that it was started in.
pub fn find() -> &'static Path {
    let built_from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if built_from.join("Cargo.lock").is_file() {
        built_from
    } else {
        Path::new(".")
    }
}
