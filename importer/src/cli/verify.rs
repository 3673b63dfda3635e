//! `importer verify`.

use std::path::PathBuf;

use clap::Args;

use super::{Global, dump, import::ReportArguments, output, target::TargetArguments};
use crate::{
    conduit::kv::{self, KvStore, Mode},
    dump::DumpReader,
    findings,
    progress::Progress,
    report,
    tally::Skip,
    verify::{self, Verified},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The dump that the database was made from
    #[arg(long, value_name = "DIR", required_unless_present = "server_name")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    report: ReportArguments,
    /// Without a dump: the server's name, to look at the database alone
    #[arg(long, value_name = "NAME", conflicts_with = "dump")]
    server_name: Option<String>,
}

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let progress = global.progress();
        let dump = self.dump.as_ref().map(|dir| dump::open(dir, progress)).transpose()?;
        if let Some(dump) = &dump {
            target.check_server_name(&dump.manifest().server_name)?;
        }
        let store = kv::open(target.backend, &target.directory, Mode::Read)?;
        let verified = match (&dump, &self.server_name) {
            (Some(dump), _) => {
                // The report of the import knows what it left out; without it, the dump's own rules decide.
                let directory = self.report.directory(&target);
                let left_out = report::left_out(&directory, dump.manifest()).unwrap_or_default();
                everything(store.as_ref(), dump, &left_out, progress)?
            }
            (None, name) => {
                verify::structure(store.as_ref(), name.as_deref().unwrap_or_default(), &progress)?
            }
        };
        output::print(global.format, &verified, |out, verified| {
            let rows: u64 = verified.rows.values().sum();
            writeln!(out, "verified {} rows of {} trees", rows, verified.rows.len())?;
            output::findings(out, &verified.findings)
        })?;
        Ok(findings::exit_code(&verified.findings))
    }
}

/// Looks at a database alone and against its dump. `skipped` is what the import left out, if known.
pub(super) fn everything(
    store: &dyn KvStore,
    dump: &DumpReader,
    skipped: &[Skip],
    progress: Progress,
) -> Result<Verified, verify::VerifyError> {
    let mut verified = verify::structure(store, &dump.manifest().server_name, &progress)?;
    let compared = verify::against_dump(store, dump, skipped, &progress)?;
    verified.findings.extend(compared.findings);
    verified.findings.sort();
    Ok(verified)
}
