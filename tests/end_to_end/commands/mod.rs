//! The commands of the program.

mod check;
mod demo;
mod fetch;
mod privacy;
pub(crate) mod process;
mod usage;

/// `xcwado manifest show` of a document: its exit code, standard output and standard error.
pub(crate) fn show(document: &[u8], arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = process::file(&directory, "manifest", document);
    process::run(&[&["manifest", "show", &manifest], arguments].concat())
}
