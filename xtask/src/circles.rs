//! Circles between the files of a crate: files that lean on each other, so that none can be read, tested or moved alone.
//!
//! A file leans on another whose items it names. One that only declares modules and hands their names on leans on nothing, and
//! who takes a name from it leans on the file that defines it. Names that come by `*`, and methods, are not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::module_names::{Import, Names, Words};

/// Imports of imports that are followed.
const MOST_STEPS: usize = 16;

/// The files of a crate with what they name, by their modules.
#[derive(Debug, Default)]
struct Crate(BTreeMap<Words, (PathBuf, Names)>);

/// Who leans on whom, and a name for which it does.
type Edges = BTreeMap<Words, BTreeMap<Words, String>>;

/// One line for each circle of a crate's files, of all `files` of the workspace `root`.
///
/// # Errors
/// When a file cannot be read, or is no Rust.
pub fn check_tree(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut crates: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(root).unwrap_or(file);
        if let Some(source) = inside.ancestors().find(|folder| folder.ends_with("src")) {
            crates.entry(source).or_default().push(inside);
        }
    }
    let mut problems = Vec::new();
    for (source, files) in crates {
        problems.extend(Crate::read(root, source, &files)?.circles());
    }
    Ok(problems)
}

impl Crate {
    fn read(root: &Path, source: &Path, files: &[&Path]) -> Result<Self> {
        let mut read = Self::default();
        for file in files {
            let inside = file.strip_prefix(source)?.with_extension("");
            let words = inside.iter().map(|word| word.to_string_lossy().into_owned());
            let mut module: Words = words.collect();
            match module.last().map(String::as_str) {
                // A program beside a library names it from outside.
                Some("main") if files.contains(&&*source.join("lib.rs")) => continue,
                Some("mod" | "lib" | "main") => drop(module.pop()),
                _ => {}
            }
            let reading = || format!("reading {}", file.display());
            let text = std::fs::read_to_string(root.join(file)).with_context(reading)?;
            let names = Names::of(&text).with_context(reading)?;
            read.0.insert(module, (file.to_path_buf(), names));
        }
        Ok(read)
    }

    /// The module in whose file `path`, as `module` names it, is defined; `None` for modules and for names of other crates.
    fn owner(&self, module: &[String], path: &[String], steps: usize) -> Option<Words> {
        let mut at = module.to_vec();
        for (place, word) in path.iter().enumerate() {
            let child = [&at[..], std::slice::from_ref(word)].concat();
            match word.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ if self.0.contains_key(&child) => at = child,
                _ => {
                    let import = self.0.get(&at)?.1.imports.get(word);
                    // In `use serde::Serialize` the first word is a crate, whatever else is called so.
                    return match import.filter(|import| steps > 0 && import.path != path) {
                        Some(Import { path: from, .. }) => {
                            self.owner(&at, &[from, &path[place + 1..]].concat(), steps - 1)
                        }
                        None => (place > 0).then_some(at),
                    };
                }
            }
        }
        None
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, (_, names)) in &self.0 {
            let leans = |(name, import): &(&String, &Import)| {
                !import.handed_on || names.paths.iter().any(|path| path[0] == **name)
            };
            let imported = names.imports.iter().filter(leans).map(|(_, import)| &import.path);
            for path in imported.chain(&names.paths) {
                let owner = self.owner(module, path, MOST_STEPS);
                if let (Some(owner), Some(name)) = (owner.filter(|owner| owner != module), path.last()) {
                    let of_module = edges.entry(module.clone()).or_default();
                    of_module.entry(owner).or_insert_with(|| name.clone());
                }
            }
        }
        edges
    }

    /// The shortest circle through each file that is in none told before.
    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let (mut told, mut circles) = (BTreeSet::new(), Vec::new());
        for module in self.0.keys() {
            let circle = back_to(&edges, module).filter(|_| !told.contains(module));
            let Some(circle) = circle else { continue };
            let next = circle.iter().cycle().skip(1);
            let steps = circle.iter().zip(next).map(|(from, to)| {
                let [one, other] = [from, to].map(|module| self.0[*module].0.display());
                format!("{one} takes `{}` of {other}", edges[*from][*to])
            });
            let steps = steps.collect::<Vec<_>>().join(", ");
            circles.push(format!("a circle of {} files: {steps}", circle.len()));
            told.extend(circle);
        }
        circles
    }
}

/// The shortest way from a module over others to where the next is itself.
fn back_to<'a>(edges: &'a Edges, start: &'a Words) -> Option<Vec<&'a Words>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way[way.len() - 1]).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a crate of these files.
    fn said(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let write = |(name, text): &(&str, &str)| {
            let path = root.path().join("crates/a/src").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let files: Vec<_> = files.iter().map(write).collect();
        check_tree(root.path(), &files).unwrap()
    }

    #[test]
    fn two_files_that_take_from_each_other_are_told_with_what_they_take() {
        let said = said(&[
            ("lib.rs", "mod page;\nmod html;\npub use page::Page;"),
            ("page.rs", "pub struct Page;\nfn show() { crate::html::write(); }"),
            ("html.rs", "use crate::Page;\npub fn write() -> Page { Page }"),
        ]);
        let expected = "a circle of 2 files: crates/a/src/html.rs takes `Page` of crates/a/src/page.rs, \
                        crates/a/src/page.rs takes `write` of crates/a/src/html.rs";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn a_parent_that_declares_and_hands_on_is_in_no_circle_but_one_that_calls_its_children_is() {
        let child = (
            "policies/random.rs",
            "use super::{Policy, at_least};\npub struct Random;",
        );
        let policy = ("policies/policy.rs", "pub trait Policy {}\npub fn at_least() {}");
        let lib = ("lib.rs", "mod policies;\npub use policies::Random;");
        let hands_on =
            "mod policy;\nmod random;\npub use policy::{Policy, at_least};\npub use random::Random;";
        assert!(said(&[lib, child, policy, ("policies/mod.rs", hands_on)]).is_empty());
        let calls = "mod random;\npub use random::Random;\npub trait Policy {}\npub fn at_least() { let _ = Random; }";
        let said = said(&[lib, child, ("policies/mod.rs", calls)]);
        assert!(said[0].starts_with("a circle of 2 files"), "{said:?}");
    }

    #[test]
    fn a_round_of_three_is_one_circle_and_tests_close_none() {
        let files = |last: &'static str| {
            let a = ("a.rs", "use super::b::b;\npub fn a() { b() }");
            let b = ("b.rs", "pub fn b() { println!(\"{}\", super::c::c()); }");
            said(&[("lib.rs", ""), a, b, ("c.rs", last)])
        };
        let round = files("pub fn c() { crate::a::a() }");
        assert_eq!(round.len(), 1, "{round:?}");
        assert!(round[0].starts_with("a circle of 3 files"), "{round:?}");
        assert!(files("#[cfg(test)]\nmod tests { use crate::a::a; }").is_empty());
    }

    #[test]
    fn a_program_beside_a_library_and_a_crate_of_a_module_s_name_are_no_part_of_it() {
        let program = ("main.rs", "use a::run;\nfn main() { run() }\npub fn help() {}");
        let library = ("lib.rs", "mod serde;\npub fn run() { crate::serde::read() }");
        let module = ("serde.rs", "use serde::Serialize;\npub fn read() {}");
        assert!(said(&[program, library, module]).is_empty());
    }
}
