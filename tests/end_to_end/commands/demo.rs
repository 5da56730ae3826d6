//! `xcwado demo`.

use std::fs;
use std::process::Command;

use crate::commands::process::{Running, command, files, outcome};

#[test]
fn the_lines_that_the_demo_prints_work() {
    let mut demo = Running::on_stdout(command(["demo", "--port", "0"]));
    let printed = demo.until("Stop with Ctrl-C");
    let directory = tempfile::tempdir().expect("a directory");
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| {
            line.starts_with("curl ") || line.contains(" fetch ") || line.contains(" check ")
        })
        .collect();
    assert_eq!(lines.len(), 8, "{printed}");
    let protected = printed
        .lines()
        .find(|line| line.ends_with("(401 without a right)"));
    let protected = protected.and_then(|line| line.split_whitespace().next());
    let refused = Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ])
        .arg(protected.expect("an address"))
        .output();
    assert_eq!(refused.expect("curl").stdout, b"401");
    for line in &lines {
        let mut shell = Command::new("sh");
        // `--fail`: an error status must fail the command.
        let line = line.replacen("curl ", "curl -sS --fail --noproxy '*' ", 1);
        let done = shell
            .args(["-c", &line])
            .current_dir(directory.path())
            .output();
        let (code, _, errors) = outcome(&done.expect("a shell"));
        assert_eq!(code, 0, "{line}: {errors}");
    }
    let slice = fs::read(directory.path().join("slice.dcm")).expect("a slice");
    assert_eq!(&slice[128..132], b"DICM");
    for other in ["same-slice.dcm", "partner-slice.dcm"] {
        let other = fs::read(directory.path().join(other)).expect("a slice");
        assert!(slice == other, "another slice");
    }
    let files = files(&directory.path().join("demo-images"));
    assert!(files.len() > 10, "{files:?}");
    assert!(
        files
            .iter()
            .any(|path| fs::read(path).expect("a file") == slice)
    );
    let whole = fs::read(directory.path().join("study.multipart")).expect("a study");
    for path in &files {
        let bytes = fs::read(path).expect("a file");
        assert!(
            memchr::memmem::find(&whole, &bytes).is_some(),
            "{}",
            path.display()
        );
    }
    assert!(
        printed.contains(&format!("A study of {} instances", files.len())),
        "{printed}"
    );
    assert_eq!(demo.end("-INT").0, Some(0));
}
