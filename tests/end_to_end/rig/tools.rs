//! Programs that a test may find on this machine, and tests that are left out without them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Reports a test as left out; with `CI` set, fails it.
pub(crate) fn left_out(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    // Not `eprintln!`: the test runner captures its output.
    writeln!(std::io::stderr(), "left out: {what}: {why}").expect("standard error");
}

/// Runs a script of `tests/peers/`; the last line of its output is its report.
pub(crate) fn python(script: &str, arguments: &[&OsStr]) -> Option<Value> {
    let Some(python) = std::env::var_os("DICOMWEB_CLIENT_PYTHON") else {
        left_out(
            "pydicom",
            "DICOMWEB_CLIENT_PYTHON is not set; tests/run sets it",
        );
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    Some(report.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))))
}
