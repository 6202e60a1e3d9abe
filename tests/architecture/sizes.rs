//! How large files and functions are. Tests are left out of the functions, not of the files.

use std::fmt;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::{Tree, product_items};

/// No file has more lines.
const FILE: usize = 400;

/// No function has more lines.
const FUNCTION: usize = 60;

/// Median and ninth decile of the files' lines, and ninth decile of the functions' lines, at the
/// most.
const FILE_MEDIAN: usize = 156;
const FILE_P90: usize = 284;
const FUNCTION_P90: usize = 29;

/// Lines with the place that has them, shortest first.
pub(crate) struct Sizes {
    files: Vec<(usize, String)>,
    functions: Vec<(usize, String)>,
}

/// Measures all files and functions.
pub(crate) fn measure(tree: &Tree) -> Sizes {
    let mut sizes = Sizes {
        files: Vec::new(),
        functions: Vec::new(),
    };
    for file in &tree.0 {
        sizes
            .files
            .push((file.text.lines().count(), file.path.clone()));
        if !file.is_test {
            let mut functions = Functions {
                path: &file.path,
                found: &mut sizes.functions,
            };
            for item in product_items(&file.items, false) {
                functions.visit_item(item);
            }
        }
    }
    sizes.files.sort();
    sizes.functions.sort();
    sizes
}

struct Functions<'a> {
    path: &'a str,
    found: &'a mut Vec<(usize, String)>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (signature.span().start().line, block.span().end().line);
        self.found.push((
            end - start + 1,
            format!("{}: {}", self.path, signature.ident),
        ));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// The value below which `percent` of all lie.
fn percentile(sorted: &[(usize, String)], percent: usize) -> usize {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0, |(lines, _)| *lines)
}

impl Sizes {
    /// Everything over a bound.
    pub(crate) fn too_large(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, list, most) in [
            ("file", &self.files, FILE),
            ("function", &self.functions, FUNCTION),
        ] {
            let large = list.iter().filter(|(lines, _)| *lines > most);
            found.extend(
                large.map(|(lines, name)| {
                    format!("{name}: a {what} of {lines} lines, {most} allowed")
                }),
            );
        }
        for (what, list, percent, most) in [
            ("median of the files", &self.files, 50, FILE_MEDIAN),
            ("ninth decile of the files", &self.files, 90, FILE_P90),
            (
                "ninth decile of the functions",
                &self.functions,
                90,
                FUNCTION_P90,
            ),
        ] {
            let is = percentile(list, percent);
            if is > most {
                found.push(format!("{what}: {is} lines, {most} allowed"));
            }
        }
        found
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, list) in [("files", &self.files), ("functions", &self.functions)] {
            let total: usize = list.iter().map(|(lines, _)| lines).sum();
            let [p50, p90, p99, most] = [50, 90, 99, 100].map(|percent| percentile(list, percent));
            writeln!(
                f,
                "{}: {} {what}, lines median/p90/p99/max {p50}/{p90}/{p99}/{most}",
                total,
                list.len()
            )?;
        }
        Ok(())
    }
}
