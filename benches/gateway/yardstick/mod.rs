//! The gateway next to a tuned nginx: what each kind of work costs both, asked in turn.
//!
//! Congestion control matters on loopback too: BBR paces, which makes large writes dear. Each suite
//! therefore runs in a network namespace of its own, with Reno, where that is possible.

mod access;
mod client;
mod contest;
mod http2;
mod idle;
mod peer;
mod single;
mod stream;
mod tls;
mod trace;
mod viewer;
mod warm;

use std::process::Command;

pub(crate) fn access() {
    isolated("access");
}

pub(crate) fn stream() {
    isolated("stream");
}

pub(crate) fn single() {
    isolated("single");
}

pub(crate) fn warm() {
    isolated("warm");
}

pub(crate) fn metadata() {
    isolated("metadata");
}

pub(crate) fn tls() {
    isolated("tls");
}

pub(crate) fn http_2() {
    isolated("http2");
}

pub(crate) fn handshakes() {
    isolated("handshakes");
}

pub(crate) fn viewer() {
    isolated("viewer");
}

pub(crate) fn idle() {
    isolated("idle");
}

/// Runs a suite in this process.
pub(crate) fn measure(suite: &str) {
    match suite {
        "access" => access::run(),
        "stream" => stream::run(),
        "single" => single::run(),
        "warm" => warm::run(),
        "metadata" => warm::metadata(),
        "tls" => tls::run(),
        "http2" => tls::http_2(),
        "handshakes" => tls::handshakes(),
        "viewer" => viewer::run(),
        "idle" => idle::run(),
        suite => panic!("there is no suite {suite}"),
    }
}

/// Runs a suite in a network namespace of its own if possible, else in that of this process.
fn isolated(suite: &str) {
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &format!("{NAMESPACE} && {script}")]);
        command
    };
    let tried = in_namespace("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        println!("  in the network namespace of the machine, with its congestion control");
        measure(suite);
        return;
    }
    let program = std::env::current_exe().expect("a path");
    let status = in_namespace("exec \"$0\" \"$@\"")
        .arg(program)
        .args(["as", "yardstick", suite])
        .status();
    assert!(status.expect("it starts").success(), "{suite} failed");
}

const NAMESPACE: &str =
    "ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control";
