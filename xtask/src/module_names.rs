//! The names that a Rust file imports and uses, its tests aside: enough to tell which file leans on which.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemUse, Macro, Meta, Token, UseTree, Visibility};

/// A path such as `crate::report::Page`, word by word.
pub type Words = Vec<String>;

/// What a file names.
#[derive(Debug, Default)]
pub struct Names {
    /// What its `use` lines bring, by the name that it has here.
    pub imports: BTreeMap<String, Import>,
    /// The paths outside of `use` lines, those of one word too.
    pub paths: BTreeSet<Words>,
}

/// A name that a `use` line brings.
#[derive(Debug)]
pub struct Import {
    /// From where.
    pub path: Words,
    /// Whether it is brought for others: `pub use`.
    pub handed_on: bool,
}

impl Names {
    /// The names of a file's text.
    ///
    /// # Errors
    /// When the text is no Rust.
    pub fn of(text: &str) -> Result<Self> {
        let mut names = Self::default();
        names.visit_file(&syn::parse_file(text)?);
        Ok(names)
    }

    /// The names of a `use` tree; `*` brings none that can be told here.
    fn import(&mut self, tree: &UseTree, before: &[String], handed_on: bool) {
        let with = |word: &syn::Ident| [before, &[word.to_string()]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), handed_on),
            UseTree::Group(group) => {
                let trees = group.items.iter();
                return trees.for_each(|tree| self.import(tree, before, handed_on));
            }
            UseTree::Glob(_) => return,
            UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(name) => (name.rename.to_string(), with(&name.ident)),
        };
        self.imports.insert(name, Import { path, handed_on });
    }

    /// Most macros and attributes take expressions; what others take is not looked at.
    fn arguments(&mut self, arguments: &syn::Result<Punctuated<Expr, Token![,]>>) {
        let mut names = Self::default();
        arguments
            .iter()
            .flatten()
            .for_each(|argument| names.visit_expr(argument));
        self.paths.append(&mut names.paths);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words = path.segments.iter().map(|word| word.ident.to_string());
        self.paths.insert(words.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.arguments(&call.parse_body_with(Punctuated::parse_terminated));
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.arguments(&list.parse_args_with(Punctuated::parse_terminated));
        }
    }
}

/// Whether an item is compiled for tests only.
fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    let is_test = |meta: &Meta| matches!(meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test");
    attributes.iter().any(|attribute| is_test(&attribute.meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_types_macros_and_attributes_but_not_in_tests() {
        let names = Names::of(
            "use super::a::{self, B as C};\npub use d::E;\n\
             #[arg(value = crate::f::g())]\nstruct S(Vec<h::I>);\n\
             fn s() { println!(\"{}\", j::k(1)); }\n\
             #[cfg(test)]\nmod tests { use super::l::M; fn t() { n::o(); } }\n",
        )
        .unwrap();
        let imports: Vec<_> = names
            .imports
            .iter()
            .map(|(name, import)| (name.as_str(), import.path.join("::"), import.handed_on))
            .collect();
        assert_eq!(
            imports,
            [
                ("C", "super::a::B".to_owned(), false),
                ("E", "d::E".to_owned(), true),
                ("a", "super::a".to_owned(), false)
            ]
        );
        let paths: BTreeSet<String> = names.paths.iter().map(|path| path.join("::")).collect();
        for path in ["crate::f::g", "h::I", "j::k"] {
            assert!(paths.contains(path), "{path} is not in {paths:?}");
        }
        assert!(!paths.contains("n::o"), "{paths:?}");
    }
}
