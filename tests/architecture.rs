//! Imports point down `src/lib.rs`, pure modules stay pure, and no room is too large or turns in a
//! circle.

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/figures.rs"]
mod figures;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use figures::Figures;

/// Modules without I/O, clock and runtime.
const PURE: &[&str] = &[
    "dicom",
    "ihe",
    "manifest",
    "multipart",
    "present",
    "request",
    "resource",
    "rewrite",
    "search",
];
/// What a pure module must not name.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["hyper"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "os"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["getrandom"],
    &["tempfile"],
];

#[test]
fn imports_point_down() {
    let tree = Tree::read(&source());
    assert!(tree.order.len() >= 10, "{:?}", tree.order);
    assert!(tree.uses.len() > 500, "the paths of the program are read");
    let upward = tree.upward();
    assert!(upward.is_empty(), "{}", list(&upward));
}

#[test]
fn pure_modules_have_no_files_no_network_no_clock_and_no_runtime() {
    let tree = Tree::read(&source());
    let impure = tree.impure();
    assert!(impure.is_empty(), "{}", list(&impure));
}

#[test]
fn no_files_of_one_room_import_each_other_in_a_circle() {
    let circles = circles::circles(&Tree::read(&source()));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_folder_has_more_than_13_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "benches"] {
        let figures = Figures::read(&root.join(folder));
        assert!(!figures.files.is_empty());
        for (folder, files) in figures.folders() {
            assert!(files <= 13, "{} has {files} files", folder.display());
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for file in Figures::read(&source()).files {
        let is_short = file.is_test || file.lines <= 500;
        assert!(is_short, "{}: {} lines", file.path.display(), file.lines);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for people to read")]
fn functions_are_short_and_have_few_parameters() {
    let figures = Figures::read(&source());
    let (median, most) = (figures.percentile(50), figures.percentile(99));
    let count = figures.functions.len();
    println!("{count} functions: median {median} lines, 99 % at most {most} lines");
    assert!(count > 1000, "the functions of the program are read");
    assert!(median <= 8, "median: {median} lines");
    assert!(most <= 50, "99 %: {most} lines");
    for function in &figures.functions {
        assert!(function.parameters <= 5, "{function}");
        assert!(!function.has_tuple, "{function}, one of them a tuple");
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn list(uses: &[&Use]) -> String {
    uses.iter().map(|found| format!("\n{found}")).collect()
}

/// The modules of a crate and the paths that they write.
struct Tree {
    /// The top modules, as declared.
    order: Vec<String>,
    modules: Vec<Vec<String>>,
    uses: Vec<Use>,
}

/// A path somewhere in the source.
#[derive(Debug)]
struct Use {
    file: PathBuf,
    line: usize,
    /// The module it stands in.
    module: Vec<String>,
    is_test: bool,
    path: Vec<String>,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, path) = (self.file.display(), self.path.join("::"));
        write!(f, "{file}:{}: {path}", self.line)
    }
}

impl Tree {
    fn read(source: &Path) -> Self {
        let mut reading = SourceReader::default();
        reading.file(&source.join("lib.rs"), source, &[], false);
        let is_top = |declared: &&Vec<String>| declared.len() == 1;
        let order = reading.modules.iter().filter(is_top);
        Self {
            order: order.map(|declared| declared[0].clone()).collect(),
            modules: reading.modules,
            uses: reading.uses,
        }
    }

    fn upward(&self) -> Vec<&Use> {
        self.uses
            .iter()
            .filter(|used| self.is_upward(used))
            .collect()
    }

    /// Whether a path leads to a top module that is declared above its own, or may do so.
    fn is_upward(&self, used: &Use) -> bool {
        let Some(own) = used.module.first() else {
            return false;
        };
        let Some(target) = used.target() else {
            return false;
        };
        let position = |name: &str| self.order.iter().position(|module| module == name);
        match position(&target) {
            Some(target) => position(own).is_none_or(|own| target < own),
            // `crate::*`, or something that is not in the map.
            None => true,
        }
    }

    fn impure(&self) -> Vec<&Use> {
        let is_pure = |module: &[String]| PURE.iter().any(|pure| starts_with(module, &[pure]));
        let names = |used: &Use| {
            IMPURE.iter().any(|impure| starts_with(&used.path, impure))
                || matches!(used.path.as_slice(), [.., std, time, glob] if std == "std" && time == "time" && glob == "*")
        };
        let uses = self.uses.iter();
        uses.filter(|used| !used.is_test && is_pure(&used.module) && names(used))
            .collect()
    }
}

fn starts_with(path: &[String], head: &[&str]) -> bool {
    path.len() >= head.len() && path.iter().zip(head).all(|(a, b)| a == b)
}

impl Use {
    /// The top module that a path of this crate leads to; `None` for other paths, and for those
    /// that stay within modules.
    fn target(&self) -> Option<String> {
        self.absolute()?.into_iter().next()
    }

    /// The path from the root of this crate; `None` for paths that begin elsewhere.
    fn absolute(&self) -> Option<Vec<String>> {
        let mut at = self.module.clone();
        let mut path = self.path.iter().peekable();
        match path.peek()?.as_str() {
            "crate" => {
                path.next();
                at.clear();
            }
            "self" | "super" => {}
            _ => return None,
        }
        while let Some(step) = path.next_if(|step| matches!(step.as_str(), "self" | "super")) {
            if step == "super" {
                at.pop();
            }
        }
        // A path above the root does not compile.
        at.extend(path.cloned());
        Some(at)
    }
}

/// Reads files, and those of the modules that they declare.
#[derive(Default)]
struct SourceReader {
    modules: Vec<Vec<String>>,
    uses: Vec<Use>,
    seen: HashSet<PathBuf>,
}

/// Where in a file the reading is.
struct Place<'a> {
    file: &'a Path,
    /// Where the files of modules declared here are.
    directory: PathBuf,
    module: Vec<String>,
    is_test: bool,
    /// How many braces are open in it.
    depth: usize,
}

impl SourceReader {
    fn file(&mut self, file: &Path, directory: &Path, module: &[String], is_test: bool) {
        assert!(
            self.seen.insert(file.to_owned()),
            "{} twice",
            file.display()
        );
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens = tokens(&text);
        let mut places = vec![Place {
            file,
            directory: directory.to_owned(),
            module: module.to_owned(),
            is_test,
            depth: 0,
        }];
        let mut attributes = Attributes::default();
        let mut at = 0;
        while at < tokens.len() {
            at = self.item(&tokens, at, &mut places, &mut attributes);
        }
    }

    /// Reads what stands at `at`; gives where to go on.
    fn item(
        &mut self,
        tokens: &[Token],
        at: usize,
        places: &mut Vec<Place<'_>>,
        attributes: &mut Attributes,
    ) -> usize {
        let is_inline = places.len() > 1;
        let place = places.last_mut().expect("the file itself is never left");
        match &tokens[at].kind {
            Kind::Punctuation('#') => attributes.read(&tokens[at..]),
            Kind::Punctuation('{') => {
                place.depth += 1;
                *attributes = Attributes::default();
            }
            Kind::Punctuation('}') if is_inline && place.depth == 0 => {
                places.pop();
            }
            Kind::Punctuation('}') => {
                place.depth = place.depth.saturating_sub(1);
                *attributes = Attributes::default();
            }
            Kind::Punctuation(';') => *attributes = Attributes::default(),
            Kind::Word(word) if word == "mod" => {
                if let Some(after) = self.module(tokens, at, places, attributes) {
                    return after;
                }
            }
            Kind::Word(_) => {
                let mut paths = Vec::new();
                let after = path(tokens, at, &[], &mut paths);
                let (file, module) = (place.file.to_owned(), place.module.clone());
                self.uses.extend(paths.into_iter().map(|path| Use {
                    file: file.clone(),
                    line: tokens[at].line,
                    module: module.clone(),
                    is_test: place.is_test,
                    path,
                }));
                return after;
            }
            Kind::Punctuation(_) | Kind::Separator | Kind::Text(_) => {}
        }
        at + 1
    }

    /// Reads `mod name;` or `mod name {`.
    fn module<'a>(
        &mut self,
        tokens: &[Token],
        at: usize,
        places: &mut Vec<Place<'a>>,
        attributes: &mut Attributes,
    ) -> Option<usize> {
        let Kind::Word(name) = &tokens.get(at + 1)?.kind else {
            return None;
        };
        let place = places.last()?;
        let mut module = place.module.clone();
        module.push(name.clone());
        let attributes = std::mem::take(attributes);
        let is_test = place.is_test || attributes.is_test;
        match tokens.get(at + 2)?.kind {
            Kind::Punctuation(';') => {
                self.modules.push(module.clone());
                let (file, directory) = find(place, name, attributes.path.as_deref());
                self.file(&file, &directory, &module, is_test);
            }
            Kind::Punctuation('{') => {
                self.modules.push(module.clone());
                let directory = place.directory.join(name);
                let file = place.file;
                places.push(Place {
                    file,
                    directory,
                    module,
                    is_test,
                    depth: 0,
                });
            }
            Kind::Punctuation(_) | Kind::Word(_) | Kind::Separator | Kind::Text(_) => return None,
        }
        Some(at + 3)
    }
}

/// The file of a module, and where its own modules are.
fn find(place: &Place<'_>, name: &str, path: Option<&str>) -> (PathBuf, PathBuf) {
    if let Some(path) = path {
        let directory = place.file.parent().expect("a file is somewhere");
        return (directory.join(path), directory.to_owned());
    }
    let directory = place.directory.join(name);
    let (flat, folder) = (
        place.directory.join(format!("{name}.rs")),
        directory.join("mod.rs"),
    );
    (if flat.exists() { flat } else { folder }, directory)
}

/// What the attributes before an item say that matters here.
#[derive(Default)]
struct Attributes {
    is_test: bool,
    path: Option<String>,
}

impl Attributes {
    fn read(&mut self, tokens: &[Token]) {
        let kinds: Vec<&Kind> = tokens.iter().take(6).map(|token| &token.kind).collect();
        let word = |at: usize| match kinds.get(at) {
            Some(Kind::Word(word)) => word.as_str(),
            Some(_) | None => "",
        };
        // # [ cfg ( test ) ]   and   # [ path = "…" ]
        self.is_test |= word(2) == "cfg" && word(4) == "test";
        if let (true, Some(Kind::Text(path))) = (word(2) == "path", kinds.get(4)) {
            self.path = Some(path.clone());
        }
    }
}

/// Words that may stand before the `::` of another crate's path and are no part of it.
const BEFORE_PATHS: &[&str] = &["use", "as", "dyn", "for", "impl", "in", "mut", "return"];

/// Reads a path and, behind `::{`, a group of paths; gives where to go on.
fn path(tokens: &[Token], mut at: usize, head: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    if let Kind::Word(word) = &tokens[at].kind
        && BEFORE_PATHS.contains(&word.as_str())
    {
        return at + 1;
    }
    let mut path = head.to_vec();
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => path.push(word.clone()),
            Some(Kind::Punctuation('*')) => path.push("*".into()),
            Some(Kind::Punctuation('{')) => return group(tokens, at + 1, &path, paths),
            // `::<T>` and the like end it.
            _ => break,
        }
        at += 1;
        if tokens.get(at).map(|token| &token.kind) != Some(&Kind::Separator) {
            break;
        }
        at += 1;
    }
    // `{self}` means what stands before the group.
    if path.len() == head.len() + 1 && !head.is_empty() {
        path.pop_if(|last| last == "self");
    }
    paths.push(path);
    at
}

fn group(tokens: &[Token], mut at: usize, head: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    while let Some(token) = tokens.get(at) {
        at = match &token.kind {
            Kind::Punctuation('}') => return at + 1,
            // The new name is no path.
            Kind::Word(word) if word == "as" => at + 2,
            Kind::Word(_) | Kind::Punctuation('*' | '{') => path(tokens, at, head, paths),
            Kind::Punctuation(_) | Kind::Separator | Kind::Text(_) => at + 1,
        };
    }
    at
}

#[derive(Debug, PartialEq)]
struct Token {
    line: usize,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Word(String),
    /// `::`
    Separator,
    Punctuation(char),
    /// A string literal.
    Text(String),
}

/// Rust source without its comments; of literals only strings are left.
fn tokens(text: &str) -> Vec<Token> {
    let (mut rest, mut line) = (text, 1);
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (length, kind) = token(rest, first);
        tokens.extend(kind.map(|kind| Token { line, kind }));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn token(rest: &str, first: char) -> (usize, Option<Kind>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if rest.starts_with("::") {
        return (2, Some(Kind::Separator));
    }
    if let Some((length, text)) = string(rest) {
        return (length, Some(Kind::Text(text.into())));
    }
    if first == '\'' {
        return (character(rest), None);
    }
    if is_word(first) {
        let raw = rest.strip_prefix("r#").unwrap_or(rest);
        let end = raw.find(|c| !is_word(c)).unwrap_or(raw.len());
        return (
            rest.len() - raw.len() + end,
            Some(Kind::Word(raw[..end].into())),
        );
    }
    let kind = (!first.is_whitespace()).then_some(Kind::Punctuation(first));
    (first.len_utf8(), kind)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string literal and what stands in it, if one begins here.
fn string(rest: &str) -> Option<(usize, &str)> {
    let unprefixed = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let content = raw[hashes..].strip_prefix('"');
        if let Some(content) = content {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = content.find(&close).unwrap_or(content.len());
            let after = (end + close.len()).min(content.len());
            return Some((rest.len() - content.len() + after, &content[..end]));
        }
    }
    let content = unprefixed.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = content.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    let end = end.unwrap_or(content.len());
    let after = (end + 1).min(content.len());
    Some((rest.len() - content.len() + after, &content[..end]))
}

/// The length of a character literal, or of the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        _ => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
    }
}

mod samples {
    use super::{Path, Tree};

    const MAP: &str = "//! The map.\n\npub mod top;\n\npub mod middle;\npub mod dicom;\n";

    /// A crate of three modules; `middle` is a folder with a file `part`, which holds `text`.
    fn tree(file: &str, text: &str) -> Tree {
        tree_of(&[(file, text)])
    }

    fn tree_of(files: &[(&str, &str)]) -> Tree {
        let directory = tempfile::tempdir().expect("a directory");
        let source = directory.path();
        let write = |file: &str, text: &str| {
            let path = source.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            std::fs::write(path, text).expect("written");
        };
        write("lib.rs", MAP);
        write("top.rs", "use crate::middle::part;\nuse crate::dicom;\n");
        write(
            "middle/mod.rs",
            "mod part;\npub mod sibling;\nuse crate::dicom::Uid;\n",
        );
        write("middle/part.rs", "");
        write("middle/part_tests.rs", "use super::super::sibling;\n");
        write("middle/sibling.rs", "");
        write("dicom.rs", "");
        for (file, text) in files {
            write(file, text);
        }
        Tree::read(Path::new(source))
    }

    fn upward(file: &str, text: &str) -> Vec<String> {
        let tree = tree(file, text);
        let found = tree.upward().into_iter();
        found
            .map(|found| format!("{}: {}", found.line, found.path.join("::")))
            .collect()
    }

    #[test]
    fn the_order_is_that_of_the_map() {
        assert_eq!(tree("dicom.rs", "").order, ["top", "middle", "dicom"]);
        assert!(upward("dicom.rs", "").is_empty());
    }

    #[test]
    fn an_upward_import_is_found_in_each_spelling() {
        for (text, found) in [
            ("use crate::top;", "1: crate::top"),
            ("use crate::top::Thing;", "1: crate::top::Thing"),
            (
                "pub use crate :: top :: Thing as Other;",
                "1: crate::top::Thing",
            ),
            ("use crate::{top};", "1: crate::top"),
            (
                "use crate::{dicom::Uid, top::{self, A}};",
                "1: crate::top 1: crate::top::A",
            ),
            (
                "use crate::{\n  dicom,\n  middle::{sibling, part},\n  top::*,\n};",
                "1: crate::top::*",
            ),
            ("use crate::{self as all, top as dicom};", "1: crate::top"),
            ("use {crate::top, std::fmt};", "1: crate::top"),
            (
                "fn f() -> crate::top::Thing { todo() }",
                "1: crate::top::Thing",
            ),
            ("fn f() {\n  crate::top::run();\n}", "2: crate::top::run"),
            ("fn f(x: &'static crate::top::X<'_>) {}", "1: crate::top::X"),
            ("fn f() { g::<crate::top::X>() }", "1: crate::top::X"),
            ("impl crate::top::Trait for X {}", "1: crate::top::Trait"),
            ("impl<T: crate::top::Trait> X<T> {}", "1: crate::top::Trait"),
            (
                "macro_rules! m { () => { $crate::top::run() } }",
                "1: crate::top::run",
            ),
            (
                "#[derive(crate::top::Derive)] struct X;",
                "1: crate::top::Derive",
            ),
            ("use r#crate::top;", "1: crate::top"),
            ("use crate::*;", "1: crate::*"),
            ("use crate::nowhere;", "1: crate::nowhere"),
            ("use super::super::top;", "1: super::super::top"),
            (
                "use super::super::{dicom, top::X};",
                "1: super::super::top::X",
            ),
            ("use super::{super::top, sibling};", "1: super::super::top"),
            ("use self::super::super::top;", "1: self::super::super::top"),
            (
                "mod inner { use super::super::super::top; }",
                "1: super::super::super::top",
            ),
            (
                "#[cfg(test)]\nmod tests {\n  use crate::top;\n}",
                "3: crate::top",
            ),
            (
                "const QUOTE: char = '\"'; use crate::top; const OTHER: char = '\"';",
                "1: crate::top",
            ),
            (
                "const S: &str = \"\\\"\"; use crate::top; // \"",
                "1: crate::top",
            ),
            (
                "const S: &str = r#\"\"\"#; use crate::top;",
                "1: crate::top",
            ),
            ("/* /* */ */ use crate::top;", "1: crate::top"),
            (
                "const C: char = '\\'';\nuse crate::top; const D: char = '\\\\';",
                "2: crate::top",
            ),
        ] {
            assert_eq!(upward("middle/part.rs", text).join(" "), found, "{text}");
        }
        assert_eq!(upward("dicom.rs", "use crate::middle::part;").len(), 1);
        assert_eq!(upward("dicom.rs", "use super::middle;").len(), 1);
    }

    #[test]
    fn what_is_no_upward_import_is_not_found() {
        for text in [
            "use crate::dicom;",
            "use crate::{dicom::Uid, middle::sibling};",
            "use super::sibling;\nuse super::*;\nuse self::top::X;\nmod top { pub struct X; }",
            "use super::super::dicom;",
            "mod inner { use super::super::sibling; }",
            "mod inner { }\nuse super::sibling::top;",
            "use top::Thing; use std::top;",
            "pub(crate) fn f() {}\npub(in crate::middle) fn g() {}",
            "// use crate::top;",
            "/* use crate::top; /* crate::top */ */",
            "/// [`crate::top::Thing`]\n//! crate::top\nfn f() {}",
            "const S: &str = \"use crate::top;\";",
            "const S: &str = r##\"\"# use crate::top;\"##;",
            "const S: &[u8] = b\"crate::top\"; const T: &[u8] = br\"crate::top\";",
            "fn f<'a>(crate_: &'a str) { let top = '\\u{1F600}'; }",
        ] {
            let found = upward("middle/part.rs", text);
            assert!(found.is_empty(), "{text}: {found:?}");
        }
        // From above everything may be named.
        assert!(upward("top.rs", "use crate::{middle, dicom}; use super::middle;").is_empty());
    }

    #[test]
    fn files_that_are_named_by_their_path_belong_to_the_module_that_declares_them() {
        let declared = "#[cfg(test)]\n#[path = \"part_tests.rs\"]\nmod tests;\n";
        let tree = tree("middle/part.rs", declared);
        assert!(tree.upward().is_empty());
        let mut tests = tree.uses.iter().filter(|used| used.is_test);
        let used = tests.next().expect("a path in the tests");
        assert_eq!(used.module, ["middle", "part", "tests"]);
    }

    #[test]
    fn a_circle_of_siblings_is_found_also_through_a_name_of_their_room() {
        let circle = |part: &str, room: &str| {
            let files = [
                ("middle/part.rs", part),
                ("middle/sibling.rs", "use super::part::A;\npub struct B;"),
                ("middle/mod.rs", room),
            ];
            super::circles::circles(&tree_of(&files))
        };
        let plain = "mod part;\npub mod sibling;";
        let with_name = "mod part;\npub mod sibling;\npub use sibling::B;";
        let found = [("middle".to_owned(), vec!["part".into(), "sibling".into()])];
        for (part, room) in [
            ("use super::sibling::B;", plain),
            ("use crate::middle::sibling;", plain),
            ("use super::B;", with_name),
            ("fn f(b: crate::middle::B) {}", with_name),
        ] {
            assert_eq!(circle(part, room), found, "{part} {room}");
        }
        for (part, room) in [
            ("", plain),
            ("use super::C;", with_name),
            (
                "#[cfg(test)]\nmod tests { use super::super::sibling; }",
                plain,
            ),
        ] {
            assert!(circle(part, room).is_empty(), "{part} {room}");
        }
    }

    #[test]
    fn a_room_and_its_children_are_one() {
        let files = [
            ("middle/part.rs", "use super::Own;"),
            (
                "middle/mod.rs",
                "mod part;\npub mod sibling;\nuse part::Theirs;\npub struct Own;",
            ),
        ];
        assert!(super::circles::circles(&tree_of(&files)).is_empty());
    }

    #[test]
    fn what_is_impure_is_found_in_pure_modules_outside_of_tests() {
        let impure = |file: &str, text: &str| tree(file, text).impure().len();
        for text in [
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "use std::time::{Duration, Instant};",
            "fn f() { std::net::TcpStream::connect(\"x\"); }",
            "use tokio::sync::mpsc;",
            "use ::tokio::net::TcpStream;",
        ] {
            assert_eq!(impure("dicom.rs", text), 1, "{text}");
            assert_eq!(impure("top.rs", text), 0, "{text}");
            let test = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert_eq!(impure("dicom.rs", &test), 0, "{test}");
        }
        for text in [
            "use std::fmt;",
            "// std::fs",
            "use std::time::Duration;",
            "mod fs {}",
        ] {
            assert_eq!(impure("dicom.rs", text), 0, "{text}");
        }
    }
}
