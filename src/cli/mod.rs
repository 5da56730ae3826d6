//! The commands.
#![expect(
    clippy::print_stdout,
    reason = "what a command finds out goes to standard output"
)]

mod check;
mod fetch;
mod manifest;
mod plain;
mod rules;
mod serve;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "demo")]
use crate::demo;
use crate::pixels;
use crate::start::Failure;

/// A DICOMweb gateway for IHE XC-WADO and MADO imaging manifests.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = "Example:\n  xcwado serve --config /etc/xcwado/config.toml")]
    Serve {
        /// Settings
        #[arg(long, default_value = "config.toml")]
        config: PathBuf,
        /// How log lines look
        #[arg(long, value_enum, default_value_t = Log::Text)]
        log: Log,
    },
    #[cfg(feature = "demo")]
    /// Run two gateways with a generated study; prints commands to try
    #[command(after_help = "Example:\n  xcwado demo --port 8080")]
    Demo(demo::Arguments),
    /// Load settings and folders and try every source
    #[command(after_help = "Example:\n  xcwado check --config /etc/xcwado/config.toml")]
    Check {
        /// Settings
        #[arg(long, default_value = "config.toml")]
        config: PathBuf,
    },
    /// Look into manifests
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Look into the rules
    #[command(subcommand)]
    Rules(rules::Command),
    /// Retrieve the selection of a manifest through a gateway
    #[command(after_help = fetch::EXAMPLES)]
    Fetch(fetch::Arguments),
    /// Decode frames from standard input; the gateway starts this itself
    #[command(hide = true, name = pixels::COMMAND)]
    DecodeFrames {
        /// The gateway's process
        parent: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Log {
    Text,
    Json,
}

/// Runs the command that the process was called with. 0: done; 1: failed; 2: wrong usage.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config, log } => {
            log_to_stderr(log, "info");
            serve::run(&config)
        }
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => {
            log_to_stderr(Log::Text, "warn");
            demo::run(&arguments)
        }
        Command::Check { config } => check::run(&config),
        Command::Manifest(command) => manifest::run(&command),
        Command::Rules(command) => rules::run(&command),
        Command::Fetch(arguments) => fetch::run(&arguments),
        Command::DecodeFrames { parent } => pixels::run(parent).map_err(Failure::new),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(what)) => {
            eprintln!("xcwado: {}", plain::lines(&what));
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` selects the log messages. No message identifies a patient.
fn log_to_stderr(log: Log, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log {
        Log::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        Log::Json => builder.json().flatten_event(true).init(),
    }
}
