//! The command `importer`.

use std::process::ExitCode;

fn main() -> ExitCode {
    importer::cli::main()
}
