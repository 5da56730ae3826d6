//! The `xcwado` command.

/// Frees memory where it was allocated, without a lock between cores.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    xcwado::cli::run()
}
