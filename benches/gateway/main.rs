//! What the gateway costs: real processes on loopback, next to nginx in the same run.
//!
//! `cargo bench` runs everything; `cargo bench -- throughput memory` only these. The names are
//! `throughput`, `whole`, `first-byte`, `memory`, `manifest`, `two_gateways`, `border`, `crowd`,
//! `dead_community`, of what is kept `cache_warm`, `cache_cold`, `together`, `viewer`, `stalled` and
//! `cache_memory`, and of what is made of instances `metadata`, `frames`,
//! `large_object` and `ohif`; `soak` is no measurement of cost: it looks for wrong answers, requests
//! refused without need, and leaks, among faults of all kinds. docs/PERFORMANCE.md says what is measured.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it finds")]

mod authority;
mod border;
mod cache_cold;
mod cache_memory;
mod cache_warm;
mod client;
mod cost;
mod crowd;
mod dead_community;
mod dicom;
mod faulty;
mod first_byte;
mod forwarder;
mod frames;
mod keeping;
mod large_object;
mod manifest;
mod manifest_size;
mod memory;
mod metadata;
mod ohif;
mod origin;
mod pair;
mod plain;
mod process;
mod report;
mod settings;
mod soak;
mod stalled;
mod study;
mod throughput;
mod together;
mod two_gateways;
mod viewer;
mod whole;

use std::process::ExitCode;

type Bench = (&'static str, fn());

const BENCHES: [Bench; 20] = [
    ("throughput", throughput::run),
    ("whole", whole::run),
    ("first-byte", first_byte::run),
    ("memory", memory::run),
    ("manifest", manifest_size::run),
    ("two_gateways", two_gateways::run),
    ("border", border::run),
    ("crowd", crowd::run),
    ("dead_community", dead_community::run),
    ("cache_warm", cache_warm::run),
    ("cache_cold", cache_cold::run),
    ("together", together::run),
    ("viewer", viewer::run),
    ("stalled", stalled::run),
    ("cache_memory", cache_memory::run),
    ("metadata", metadata::run),
    ("frames", frames::run),
    ("large_object", large_object::run),
    ("ohif", ohif::run),
    ("soak", soak::run),
];

// This program is also the processes that it measures against: it runs itself with these words.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", "origin"] => origin::serve(),
        ["as", "faulty-origin"] => faulty::serve(),
        ["as", "origin-with-tls", certificate, key] => origin::serve_with_tls(certificate, key),
        ["as", "forwarder", upstream, delay_ms, megabits] => {
            forwarder::serve(upstream, delay_ms, megabits);
        }
        ["as", "plain-proxy", upstream] => plain::serve(upstream),
        ["as", "manifest-reader", file] => manifest_size::read(file),
        names => return run(names),
    }
    ExitCode::SUCCESS
}

fn run(names: &[&str]) -> ExitCode {
    let is_known = |name: &&str| BENCHES.iter().any(|(known, _)| known == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known = BENCHES.map(|(name, _)| name).join(", ");
        eprintln!("there is no benchmark {unknown}; there are {known}");
        return ExitCode::from(2);
    }
    for (name, bench) in BENCHES {
        if names.is_empty() || names.contains(&name) {
            println!("\n{name}");
            bench();
        }
    }
    ExitCode::SUCCESS
}
