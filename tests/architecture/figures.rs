//! The sizes of files, folders and functions, read from the syntax of the source.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, FnArg, Meta, Signature, Type};

/// A function outside of tests.
#[derive(Debug)]
pub(crate) struct Function {
    place: String,
    /// From its signature to its closing brace.
    pub(crate) lines: usize,
    /// Without `self`.
    pub(crate) parameters: usize,
    pub(crate) has_tuple: bool,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, parameters) = (self.lines, self.parameters);
        write!(f, "{}: {lines} lines, {parameters} parameters", self.place)
    }
}

/// A source file, tests included.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) lines: usize,
    pub(crate) is_test: bool,
}

/// The figures of a folder and everything below it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) files: Vec<File>,
    pub(crate) functions: Vec<Function>,
}

impl Figures {
    pub(crate) fn read(folder: &Path) -> Self {
        let mut figures = Self::default();
        figures.folder(folder);
        figures.functions.sort_by_key(|function| function.lines);
        figures
    }

    fn folder(&mut self, folder: &Path) {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut entries: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                self.folder(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.file(path);
            }
        }
    }

    fn file(&mut self, path: PathBuf) {
        let text = std::fs::read_to_string(&path).expect("a file");
        // `tests.rs`, `x_tests.rs`, and everything in a folder `tests`.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_in_tests = path.iter().any(|part| part == "tests");
        let is_test = stem == "tests" || stem.ends_with("_tests") || is_in_tests;
        if !is_test {
            let file = syn::parse_file(&text).expect("Rust");
            let mut reader = FunctionReader {
                path: &path,
                functions: &mut self.functions,
            };
            reader.visit_file(&file);
        }
        self.files.push(File {
            lines: text.lines().count(),
            path,
            is_test,
        });
    }

    /// The number of files in each folder.
    pub(crate) fn folders(&self) -> BTreeMap<&Path, usize> {
        let mut folders = BTreeMap::new();
        for file in &self.files {
            let folder = file.path.parent().expect("a file is in a folder");
            *folders.entry(folder).or_default() += 1;
        }
        folders
    }

    /// The length that so many of a hundred functions do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> usize {
        let at = self.functions.len().saturating_sub(1) * percent / 100;
        self.functions.get(at).map_or(0, |function| function.lines)
    }
}

struct FunctionReader<'a> {
    path: &'a Path,
    functions: &'a mut Vec<Function>,
}

impl FunctionReader<'_> {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let last = block.span().end().line;
        let typed = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(&*typed.ty),
            FnArg::Receiver(_) => None,
        });
        let types: Vec<&Type> = typed.collect();
        self.functions.push(Function {
            place: format!("{}:{first}: {}", self.path.display(), signature.ident),
            lines: last - first + 1,
            parameters: types.len(),
            has_tuple: types.into_iter().any(is_tuple),
        });
    }
}

impl<'a> Visit<'a> for FunctionReader<'_> {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if !is_for_tests(&function.attrs) {
            self.add(&function.sig, &function.block);
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            self.add(&function.sig, &function.block);
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
    })
}

/// `(A, B)`, `&(A, B)` and the like; `()` is not one.
fn is_tuple(ty: &Type) -> bool {
    if let Type::Reference(reference) = ty {
        return is_tuple(&reference.elem);
    }
    matches!(ty, Type::Tuple(tuple) if !tuple.elems.is_empty())
}
