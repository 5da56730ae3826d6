//! The program as a process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_xcwado");

pub(super) fn command<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("RUST_BACKTRACE");
    command
}

pub(super) fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(&command(arguments).output().expect("the program runs"))
}

pub(crate) fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it was not killed");
    (code, text(&output.stdout), text(&output.stderr))
}

pub(super) fn file(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path.to_str().expect("text").to_owned()
}

/// A program that runs in the background, and is ended with this.
pub(super) struct Running {
    child: Child,
    /// Lines that it prints, as far as they were read.
    lines: BufReader<Box<dyn Read + Send>>,
}

impl Running {
    pub(super) fn on_stdout(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take().expect("its output");
        Self {
            child,
            lines: BufReader::new(Box::new(output)),
        }
    }

    pub(super) fn on_stderr(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.stderr.take().expect("its output");
        Self {
            child,
            lines: BufReader::new(Box::new(output)),
        }
    }

    /// Everything that it prints, up to a line that holds `last`.
    pub(super) fn until(&mut self, last: &str) -> String {
        let mut read = String::new();
        while !read.contains(last) {
            let length = self.lines.read_line(&mut read).expect("text");
            assert_ne!(length, 0, "it ended: {read}");
        }
        read
    }

    /// Sends it a signal, and gives its exit code and what else it prints.
    pub(super) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill");
        assert!(sent.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program while servers of this test answer it.
pub(crate) async fn run_beside(arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    let running = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    running.await.expect("no panic")
}

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

pub(super) fn images(directory: &Path) -> usize {
    let is_image = |path: &PathBuf| path.extension().is_some_and(|e| e == "dcm");
    files(directory)
        .iter()
        .filter(|path| is_image(path))
        .count()
}
