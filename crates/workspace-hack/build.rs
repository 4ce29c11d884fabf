//! Nothing either: a build script is what makes cargo unify the features of packages that run while building.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
