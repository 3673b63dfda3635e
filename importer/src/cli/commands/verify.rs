//! `importer verify`.

use std::{panic::resume_unwind, path::PathBuf};

use clap::{ArgGroup, Args};

use crate::{
    cli::{
        Global,
        arguments::{report::ReportArguments, target::TargetArguments},
        exit, output,
    },
    conduit::store,
    counted::count,
    migration::open_dump,
    report,
    verify::{self, Files, StateComparison},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer verify --dump /var/backups/synapse-dump --conduit-config /etc/matrix-conduit/conduit.toml";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what is expected").required(true).args(["dump", "server_name"]))]
pub(in crate::cli) struct Arguments {
    /// The dump that the database was made from
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    report: ReportArguments,
    /// Without a dump: the server's name, to look at the database alone
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Compare the whole state before every event, not before a sample of events; slow in rooms with many members
    #[arg(long, requires = "dump")]
    all_state: bool,
    /// Synapse's media store, if it is not where the dump says; media files are compared with it if it exists
    #[arg(long, value_name = "DIR", requires = "dump")]
    media_store: Option<PathBuf>,
    #[command(flatten)]
    output: output::Form,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let progress = global.progress().step(0, 0, "verify");
        // Both take a moment, on one core each.
        let (dump, store) = std::thread::scope(|scope| {
            let dump = self.dump.as_ref().map(|dir| scope.spawn(move || open_dump(dir, progress)));
            let store = store::read(target.backend, &target.directory);
            (dump.map(|dump| dump.join().unwrap_or_else(|panic| resume_unwind(panic))), store)
        });
        let dump = dump.transpose()?;
        if let Some(dump) = &dump {
            target.check_server_name(&dump.manifest().server_name)?;
        }
        let store = store?;
        self.target.expect(store.dialect())?;
        let files =
            Files { directory: &target.media, store: self.media_store.as_ref(), linked: None };
        let verified = match (&dump, &self.server_name) {
            (Some(dump), _) => {
                // The report of the import knows what it left out; without it, the dump's own rules decide.
                let directory = self.report.directory(&target);
                let left_out = report::left_out(&directory, dump.manifest()).unwrap_or_default();
                let how =
                    if self.all_state { StateComparison::All } else { StateComparison::Sample };
                verify::everything(store.as_ref(), dump, files, &left_out, how, progress)?
            }
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                let mut verified = verify::structure(store.as_ref(), name, &progress)?;
                let media = verify::media(store.as_ref(), None, files, &[], &progress)?;
                verified.findings.extend(media.findings);
                verified
            }
        };
        output::print(self.output.format, &verified, |out, verified| {
            let rows: u64 = verified.rows.values().sum();
            writeln!(
                out,
                "verified {} of {}",
                count(rows, "row"),
                count(verified.rows.len(), "tree")
            )?;
            output::findings(out, &verified.findings)
        })?;
        Ok(exit::of_findings(&verified.findings))
    }
}
