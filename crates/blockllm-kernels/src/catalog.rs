//! Every GPU kernel of this crate, made without a device: what the compilers can be tried on anywhere.

use crate::kernel_list::List;
pub use crate::kernel_list::ListedKernel;

/// All kernels, in every type that they are launched with. An operation lists its own in its `cube.rs`; a test holds the
/// list against the sources.
pub fn kernels() -> Vec<ListedKernel> {
    let mut list = List::default();
    crate::attention::list_kernels(&mut list);
    crate::cross_entropy::list_kernels(&mut list);
    crate::dropout::list_kernels(&mut list);
    crate::embedding::list_kernels(&mut list);
    crate::gelu::list_kernels(&mut list);
    crate::given_gradient::list_kernels(&mut list);
    crate::layer_norm::list_kernels(&mut list);
    crate::normalised::list_kernels(&mut list);
    crate::rms_norm::list_kernels(&mut list);
    crate::rotary::list_kernels(&mut list);
    crate::scatter::list_kernels(&mut list);
    crate::sums::list_kernels(&mut list);
    crate::swiglu::list_kernels(&mut list);
    crate::top_k::list_kernels(&mut list);
    crate::update::list_kernels(&mut list);
    list.into_kernels()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// `operation::function` of every `#[cube(launch)]` in the sources.
    fn launched(folder: &Path, operation: Option<&str>, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The outermost folder is the operation.
                launched(&path, operation.or(path.file_name().unwrap().to_str()), found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut launch = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[cube(launch") {
                    launch = true;
                } else if launch && let Some((_, rest)) = line.split_once("fn ") {
                    let name = rest.split(['<', '(']).next().unwrap();
                    let operation = operation.unwrap();
                    found.insert(format!("{operation}::{name}"));
                    launch = false;
                }
            }
        }
    }

    #[test]
    fn every_kernel_of_the_sources_is_listed() {
        let mut expected = BTreeSet::new();
        launched(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            None,
            &mut expected,
        );
        let listed: BTreeSet<String> = kernels()
            .iter()
            .map(|listed| listed.name.split(' ').next().unwrap().to_owned())
            .collect();
        assert!(expected.contains("rms_norm::forward"), "{expected:?}");
        assert_eq!(listed, expected);
    }
}
