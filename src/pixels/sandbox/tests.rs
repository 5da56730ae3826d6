//! The test program runs itself again, as a process that tries to get out of its sandbox.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::thread::Builder;

use rustix::fs::{MemfdFlags, memfd_create};
use seccompiler::{SeccompAction, apply_filter};

use super::{Sandbox, calls, reach_nothing};

/// What the process tries.
const ATTEMPT: &str = "SANDBOX_ATTEMPT";
/// How the process is confined.
const CONFINED: &str = "SANDBOX_CONFINED";
/// An address of the parent.
const ADDRESS: &str = "SANDBOX_ADDRESS";

/// The exit code of a process whose attempt has failed.
const REFUSED: i32 = 9;

/// What hostile bytes would like to do. Each succeeds without a sandbox.
const ATTEMPTS: [&str; 12] = [
    "read a file",
    "write a file",
    "list a folder",
    "connect over TCP",
    "send over UDP",
    "make a local socket",
    "listen",
    "make memory that is a file",
    "start a program",
    "become a program",
    "signal the parent",
    "read an open file",
];
/// The first attempts open files,
const FILES: usize = 3;
/// and as many open descriptors.
const DESCRIPTORS: usize = 8;

#[test]
fn each_attempt_succeeds_without_a_sandbox() {
    for attempt in ATTEMPTS {
        let output = run(attempt, "not");
        assert!(output.status.success(), "{attempt}: {output:?}");
    }
}

#[test]
fn the_kernel_stops_each_attempt_in_the_sandbox() {
    for confined in ["sandbox", "seccomp"] {
        for attempt in &ATTEMPTS[..FILES] {
            let output = run(attempt, confined);
            assert_eq!(output.status.code(), Some(REFUSED), "{attempt}: {output:?}");
        }
        for attempt in &ATTEMPTS[FILES..] {
            let output = run(attempt, confined);
            let signal = output.status.signal();
            assert_eq!(signal, Some(libc::SIGSYS), "{attempt}: {output:?}");
        }
    }
}

#[test]
fn landlock_alone_stops_files_and_programs() {
    for attempt in ATTEMPTS[..FILES].iter().chain(&["become a program"]) {
        let output = run(attempt, "landlock");
        assert_eq!(output.status.code(), Some(REFUSED), "{attempt}: {output:?}");
    }
}

#[test]
fn a_decoder_can_do_its_work_in_the_sandbox() {
    for confined in ["not", "sandbox", "without a kernel"] {
        let output = run("work", confined);
        assert!(output.status.success(), "{confined}: {output:?}");
    }
}

#[test]
fn a_process_that_panics_or_aborts_in_the_sandbox_is_not_mistaken_for_one_that_breaks_out() {
    assert!(run("panic", "sandbox").status.success());
    let aborted = run("abort", "sandbox").status.signal();
    assert_eq!(aborted, Some(libc::SIGABRT));
}

#[test]
fn a_kernel_without_both_means_is_told_and_limits_stop_files_and_sockets() {
    let output = run("say", "without a kernel");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("NOT CONFINED"), "{output:?}");
    assert!(said.contains("no seccomp: "), "{output:?}");
    assert!(said.contains("no Landlock: "), "{output:?}");
    for attempt in &ATTEMPTS[..DESCRIPTORS] {
        let output = run(attempt, "without a kernel");
        assert_eq!(output.status.code(), Some(REFUSED), "{attempt}: {output:?}");
    }
}

#[test]
fn a_complete_sandbox_says_so() {
    let output = run("say", "sandbox");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("confined by seccomp and Landlock"),
        "{output:?}"
    );
    let part = |seccomp: Result<(), String>, landlock| Sandbox { seccomp, landlock };
    let why = || Err("why".to_owned());
    for (sandbox, text) in [
        (part(Ok(()), Ok(())), "confined by seccomp and Landlock"),
        (
            part(Ok(()), why()),
            "confined by seccomp, but not by Landlock: why",
        ),
        (
            part(why(), Ok(())),
            "confined by Landlock, but not by seccomp: why",
        ),
    ] {
        assert_eq!(sandbox.to_string(), text);
        assert_eq!(sandbox.is_complete(), !text.contains("why"));
    }
}

/// Runs this test program as a process that does nothing but [`inside`].
fn run(attempt: &str, confined: &str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "pixels::sandbox::tests::inside", "--nocapture"])
        .args(["--test-threads", "1"])
        .env_clear()
        .env(ATTEMPT, attempt)
        .env(CONFINED, confined)
        .env(ADDRESS, address.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// In a process of its own; without the variables of [`run`] it has nothing to do.
#[test]
fn inside() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (attempt, address) = (variable(ATTEMPT), variable(ADDRESS));
    if attempt.is_empty() {
        return;
    }
    let open = File::open("/etc/passwd").expect("a file");
    let sandbox = match variable(CONFINED).as_str() {
        "sandbox" => Some(Sandbox::enter().expect("what each kernel can do")),
        "seccomp" => calls::restrict().map(|()| None).expect("seccomp"),
        "landlock" => reach_nothing().map(|()| None).expect("Landlock"),
        "without a kernel" => {
            take_the_means_away();
            Some(Sandbox::enter().expect("what each kernel can do"))
        }
        _not => None,
    };
    let outcome = match attempt.as_str() {
        "say" => say(&sandbox.expect("a sandbox").to_string()),
        "read an open file" => (&open).read(&mut [0; 8]).map(drop),
        attempt => attempt_to(attempt, &address),
    };
    // The harness would go on to make system calls of its own.
    std::process::exit(if outcome.is_ok() { 0 } else { REFUSED });
}

/// From here on the kernel answers as one does that has neither Landlock nor seccomp.
fn take_the_means_away() {
    let calls = [libc::SYS_seccomp, libc::SYS_landlock_create_ruleset];
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = calls.map(|call| (call, Vec::new())).into();
    let filter = calls::program(rules, SeccompAction::Allow, missing).expect("a filter");
    apply_filter(&filter).expect("the test needs seccomp");
}

fn attempt_to(attempt: &str, address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().expect("an address");
    match attempt {
        "read a file" => File::open("/etc/passwd").map(drop),
        "write a file" => tempfile::tempfile().map(drop),
        "list a folder" => std::fs::read_dir("/").map(drop),
        "connect over TCP" => TcpStream::connect(address).map(drop),
        "send over UDP" => UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(b"x", address))
            .map(drop),
        "make a local socket" => UnixStream::pair().map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "become a program" => Err(Command::new("/bin/true").exec()),
        "signal the parent" => signal_the_parent(),
        "make memory that is a file" => Ok(memfd_create("x", MemfdFlags::CLOEXEC).map(drop)?),
        "work" => work(),
        "panic" => panic(),
        "abort" => std::process::abort(),
        unknown => unreachable!("{unknown}"),
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

fn panic() -> io::Result<()> {
    let caught = std::panic::catch_unwind(|| panic!("as a decoder may"));
    caught.map_or(Ok(()), |()| Err(io::ErrorKind::Other.into()))
}

fn signal_the_parent() -> io::Result<()> {
    let parent = rustix::process::getppid().expect("a parent");
    Ok(rustix::process::test_kill_process(parent)?)
}

/// Memory, threads, input and output, as decoders need them.
fn work() -> io::Result<()> {
    let mut memory: Vec<Vec<u8>> = (0..24).map(|power| vec![1; 1 << power]).collect();
    memory.iter_mut().for_each(|piece| piece.extend([2; 4096]));
    drop(memory);
    for _ in 0..10 {
        // Pieces of this size fill the heap of the thread, which shrinks afterwards.
        let work = |number: u8| vec![vec![number; 100_000]; 100].concat();
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let name = format!("component {number}");
                Builder::new().name(name).spawn(move || work(number))
            })
            .collect::<Result<_, _>>()?;
        for (number, thread) in (0..).zip(threads) {
            let bytes = thread.join().expect("it works");
            assert_eq!((bytes.len(), bytes.last()), (10_000_000, Some(&number)));
        }
    }
    // The random numbers of this thread.
    HashMap::from([(1, 1)]).insert(2, 2);
    assert_eq!(io::stdin().read(&mut [0; 8])?, 0);
    io::stdout().write_all(b"done\n")?;
    io::stdout().flush()
}
