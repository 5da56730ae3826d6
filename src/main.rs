//! The `xcwado` command.

fn main() -> std::process::ExitCode {
    xcwado::cli::run()
}
