//! The command `importer`.

use std::process::ExitCode;

/// Import and verification make and drop small values on all cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    importer::cli::main()
}
