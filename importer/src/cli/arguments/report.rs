//! Where the report goes.

use std::path::PathBuf;

use clap::Args;

use crate::{fs::atomic_dir::normal, migration::Target, report};

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ReportArguments {
    /// Directory for report.html, report.json and its tables as CSV [default: the database's directory with `.report` added]
    #[arg(long = "report", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl ReportArguments {
    /// The directory.
    pub(in crate::cli) fn directory(&self, target: &Target) -> PathBuf {
        let said = self.directory.as_deref().map(normal);
        said.unwrap_or_else(|| report::beside(&target.directory))
    }
}
