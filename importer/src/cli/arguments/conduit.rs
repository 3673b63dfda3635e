//! Which Conduit will run.

use std::path::PathBuf;

use clap::Args;

/// Arguments about Conduit's program.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ConduitArguments {
    /// Conduit's program; it is run with `--version`, to check that it opens the new database [default: Debian's package, if it
    /// is installed]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) conduit_binary: Option<PathBuf>,
}
