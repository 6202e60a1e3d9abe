//! The sources as a tree of modules, with the paths that each file names. Resolves names; judges
//! nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, UseTree};

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One path that a file names, from the root of the package on: `["crate", "trust", "Store"]`, or
/// `["openssl", "ssl", "Ssl"]`.
pub(crate) type Named = Vec<String>;

/// One source file.
pub(crate) struct File {
    /// Path in the repository, such as `src/trust/reload.rs`.
    pub(crate) path: String,
    /// The module that the file is, from the root of its package on: `["trust", "reload"]`.
    pub(crate) module: Vec<String>,
    /// Its items.
    pub(crate) items: Vec<Item>,
    /// Its text.
    pub(crate) text: String,
    /// Nothing but tests.
    pub(crate) is_test: bool,
    /// What it names outside its tests; for a file of tests, what the tests name.
    pub(crate) names: Vec<Named>,
    /// What it passes on from other modules: name to path.
    exports: BTreeMap<String, Named>,
}

/// All files.
#[derive(Default)]
pub(crate) struct Tree(pub(crate) Vec<File>);

impl Tree {
    /// The files of `src/` and `rules/src/`.
    pub(crate) fn of_the_product() -> Self {
        let mut tree = Self::default();
        for folder in ["src", "rules/src"] {
            let mut paths = Vec::new();
            walk(&root().join(folder), &mut paths);
            paths.sort();
            for path in paths {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
                tree.add(name, &std::fs::read_to_string(&path).unwrap());
            }
        }
        assert!(tree.0.len() > 50, "the sources were not found");
        tree
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str, text: &str) {
        let parsed = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        let module = module_of(path);
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_test = name == "tests.rs" || name.ends_with("_tests.rs");
        let (mut names, mut exports) = (Vec::new(), BTreeMap::new());
        gather(&parsed.items, &module, is_test, &mut names, &mut exports);
        self.0.push(File {
            path: path.into(),
            module,
            items: parsed.items,
            text: text.into(),
            is_test,
            names,
            exports,
        });
    }

    /// The file where a name of this package is defined, through re-exports.
    pub(crate) fn definition(&self, package: &str, named: &Named) -> Option<&File> {
        let mut named = named.clone();
        for _ in 0..8 {
            let module = &named[1..];
            let of_package = self
                .0
                .iter()
                .filter(|file| package_of(&file.path) == package);
            let file = of_package
                .filter(|file| module.starts_with(&file.module))
                .max_by_key(|file| file.module.len())?;
            let next = module.get(file.module.len());
            match next.and_then(|name| file.exports.get(name)) {
                Some(export) if *export != named => named.clone_from(export),
                _ => return Some(file),
            }
        }
        None
    }
}

/// `src` or `rules`.
pub(crate) fn package_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or(path, |(_, rest)| rest);
    let inside = inside.trim_end_matches(".rs");
    let parts = inside
        .split('/')
        .filter(|part| !["mod", "lib", "main"].contains(part));
    parts.map(String::from).collect()
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    let test = |a: &syn::Attribute| {
        let text = a.meta.to_token_stream().to_string().replace(' ', "");
        text == "cfg(test)" || text.starts_with("cfg(all(test,")
    };
    attributes.iter().any(test)
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// The items that are not tests; all of them in a file of tests.
pub(crate) fn product_items(items: &[Item], is_test: bool) -> impl Iterator<Item = &Item> {
    items
        .iter()
        .filter(move |item| is_test || !is_test_only(attributes(item)))
}

/// The module that a path is written in, with the modules that it declares: a path may begin with
/// one of these.
struct Module<'a> {
    path: &'a [String],
    children: Vec<String>,
}

fn child(item: &Item) -> Option<String> {
    match item {
        Item::Mod(declared) => Some(declared.ident.to_string()),
        _ => None,
    }
}

fn gather(
    items: &[Item],
    module: &[String],
    is_test: bool,
    names: &mut Vec<Named>,
    exports: &mut BTreeMap<String, Named>,
) {
    let children: Vec<String> = items.iter().filter_map(child).collect();
    let module = &Module {
        path: module,
        children,
    };
    for item in product_items(items, is_test) {
        match item {
            Item::Use(line) => {
                let mut found = Vec::new();
                flatten(&line.tree, &mut Vec::new(), &mut found);
                for (path, name) in found {
                    let path = absolute(path, module);
                    let passed_on = !matches!(line.vis, syn::Visibility::Inherited);
                    if passed_on {
                        exports.insert(name, path.clone());
                    }
                    // A module that passes on what its own child defines does not depend on it.
                    let own =
                        path[1..].starts_with(module.path) && path.len() > module.path.len() + 1;
                    if !(passed_on && own) {
                        names.push(path);
                    }
                }
            }
            Item::Mod(inline) => {
                if let Some((_, items)) = &inline.content {
                    let mut inner = module.path.to_vec();
                    inner.push(inline.ident.to_string());
                    gather(items, &inner, is_test, names, &mut BTreeMap::new());
                }
            }
            Item::ExternCrate(line) => names.push(vec![line.ident.to_string()]),
            other => inline_paths(other.to_token_stream(), module, names),
        }
    }
}

/// The paths of a `use` line, each with the name that it makes known.
fn flatten(tree: &UseTree, before: &mut Named, found: &mut Vec<(Named, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => {
            let mut path = before.clone();
            let ident = name.ident.to_string();
            if ident != "self" {
                path.push(ident);
            }
            let last = path.last().cloned().unwrap_or_default();
            found.push((path, last));
        }
        UseTree::Rename(rename) => {
            let mut path = before.clone();
            path.push(rename.ident.to_string());
            found.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => found.push((before.clone(), "*".into())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, found);
            }
        }
    }
}

/// Paths with `::` in code and in the arguments of macros.
fn inline_paths(stream: TokenStream, module: &Module<'_>, names: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => inline_paths(group.stream(), module, names),
            TokenTree::Ident(word) if word == "use" => {
                // A `use` line inside of a function; `use<>` of a type is none.
                let end = tokens[at..].iter().position(is_semicolon);
                let line = tokens[at..].iter().take(end.map_or(0, |end| end + 1));
                if let Ok(line) = syn::parse2::<syn::ItemUse>(line.cloned().collect()) {
                    let mut found = Vec::new();
                    flatten(&line.tree, &mut Vec::new(), &mut found);
                    let paths = found.into_iter().map(|(path, _)| absolute(path, module));
                    names.extend(paths);
                    at += end.unwrap_or(0);
                }
            }
            TokenTree::Ident(first) => {
                let mut path = vec![first.to_string()];
                while let (
                    Some(TokenTree::Punct(a)),
                    Some(TokenTree::Punct(b)),
                    Some(TokenTree::Ident(i)),
                ) = (tokens.get(at + 1), tokens.get(at + 2), tokens.get(at + 3))
                    && (a.as_char(), b.as_char()) == (':', ':')
                {
                    path.push(i.to_string());
                    at += 3;
                }
                if path.len() > 1 {
                    names.push(absolute(path, module));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

/// `super` and `self` become what they stand for.
fn absolute(path: Named, module: &Module<'_>) -> Named {
    let mut place = module.path.to_vec();
    let mut rest = path.as_slice();
    let mut relative = path
        .first()
        .is_some_and(|first| module.children.contains(first));
    while let Some(first) = rest.first() {
        match first.as_str() {
            "super" => {
                place.pop();
            }
            "self" => {}
            _ => break,
        }
        relative = true;
        rest = &rest[1..];
    }
    if !relative {
        return path;
    }
    let mut absolute = vec!["crate".to_owned()];
    absolute.extend(place);
    absolute.extend(rest.iter().cloned());
    absolute
}
