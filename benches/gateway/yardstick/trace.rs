//! Counting how often one thread of a server wakes another.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::rig::process::Server;

/// Runs `work`; how often the server wrote to an eventfd meanwhile. `None` without strace.
pub(crate) fn count_wakes(server: &Server, work: impl FnOnce()) -> Option<usize> {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let file = directory.path().join("writes");
    let strace = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "trace=write", "-s", "0", "-o"])
        .arg(&file)
        .args(["-p", server.processes().first()?])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut strace = strace.ok()?;
    let is_attached = wait_for(|| is_traced(server));
    work();
    // Told kindly, it lets go of the server.
    let told = Command::new("kill")
        .args(["-INT", &strace.id().to_string()])
        .status();
    let has_ended = told.is_ok() && strace.wait().is_ok();
    (is_attached && has_ended).then(|| count(&file))?
}

fn count(file: &Path) -> Option<usize> {
    let lines = fs::read_to_string(file).ok()?;
    Some(
        lines
            .lines()
            .filter(|line| line.contains("eventfd"))
            .count(),
    )
}

/// Whether all threads are traced.
fn is_traced(server: &Server) -> bool {
    let process = &server.processes()[0];
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let mut statuses = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.all(|status| !status.contains("TracerPid:\t0\n"))
}

fn wait_for(is_so: impl Fn() -> bool) -> bool {
    (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        is_so()
    })
}
