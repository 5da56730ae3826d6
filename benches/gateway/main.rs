//! The cost of the gateway: real processes on loopback, compared with nginx in the same run.
//!
//! `cargo bench` runs everything; `cargo bench -- throughput memory` only these. The names are
//! `throughput`, `whole`, `first-byte`, `memory`, `manifest`, `registered`, `two_gateways`,
//! `border/warm`, `border/cold`, `crowd`, `dead_community`, of what is kept `cache_warm`, `cache_cold`, `together`, `viewer`,
//! `stalled` and `cache_memory`, and of what is made of instances `metadata`, `frames`,
//! `large_object` and `ohif`; `yardstick` is all suites that compare the gateway with nginx,
//! `yardstick/stream` is one of them; `soak` is no measurement of cost: it looks for wrong answers, requests
//! refused without need, and leaks, among faults of all kinds. docs/PERFORMANCE.md says what is measured.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it finds")]

mod caching;
mod communities;
mod derived;
mod registered;
mod rig;
mod servers;
mod soak;
mod streaming;
mod study;
mod yardstick;

use std::process::ExitCode;

type Bench = (&'static str, fn());

const BENCHES: [Bench; 31] = [
    ("throughput", streaming::throughput::run),
    ("whole", streaming::whole::run),
    ("first-byte", streaming::first_byte::run),
    ("memory", streaming::memory::run),
    ("manifest", streaming::manifest_size::run),
    ("registered", registered::run),
    ("two_gateways", communities::two_gateways::run),
    ("border/warm", communities::border::run),
    ("border/cold", communities::cold_border::run),
    ("crowd", communities::crowd::run),
    ("dead_community", communities::dead_community::run),
    ("cache_warm", caching::warm::run),
    ("cache_cold", caching::cold::run),
    ("together", caching::together::run),
    ("viewer", caching::viewer::run),
    ("stalled", caching::stalled::run),
    ("cache_memory", caching::memory::run),
    ("metadata", derived::metadata::run),
    ("frames", derived::frames::run),
    ("large_object", derived::large_object::run),
    ("ohif", derived::ohif::run),
    ("yardstick/stream", yardstick::stream),
    ("yardstick/single", yardstick::single),
    ("yardstick/warm", yardstick::warm),
    ("yardstick/metadata", yardstick::metadata),
    ("yardstick/tls", yardstick::tls),
    ("yardstick/http2", yardstick::http_2),
    ("yardstick/handshakes", yardstick::handshakes),
    ("yardstick/viewer", yardstick::viewer),
    ("yardstick/idle", yardstick::idle),
    ("soak", soak::run),
];

// The servers around the gateway are this program too: it starts itself with these arguments.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", "origin"] => servers::origin::serve(),
        ["as", "faulty-origin"] => servers::faulty::serve(),
        ["as", "origin-with-tls", certificate, key] => {
            servers::origin::serve_with_tls(certificate, key)
        }
        ["as", "forwarder", upstream, delay_ms, megabits] => {
            servers::forwarder::serve(upstream, delay_ms, megabits);
        }
        ["as", "plain-proxy", upstream] => servers::plain::serve(upstream),
        ["as", "yardstick", suite] => yardstick::measure(suite),
        ["as", "manifest-reader", file] => streaming::manifest_size::read(file),
        names => return run(names),
    }
    ExitCode::SUCCESS
}

fn run(names: &[&str]) -> ExitCode {
    let is_known = |name: &&str| BENCHES.iter().any(|(known, _)| is_named(known, name));
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known = BENCHES.map(|(name, _)| name).join(", ");
        eprintln!("there is no benchmark {unknown}; there are {known}");
        return ExitCode::from(2);
    }
    for (name, bench) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| is_named(name, wanted)) {
            println!("\n{name}");
            bench();
        }
    }
    ExitCode::SUCCESS
}

/// Whether `wanted` is the name of a benchmark or of its family.
fn is_named(name: &str, wanted: &str) -> bool {
    let rest = name.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
