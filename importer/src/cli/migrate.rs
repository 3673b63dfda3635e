//! `importer migrate`: check, dump, import, verify, report.
//!
//! Each step leaves something only when it is complete: the dump and the database get their names at their ends. So a
//! run that was ended anywhere can be run again. A dump that is complete is taken again only when asked for, and only if
//! Synapse has not gone on since.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tracing::info;

use super::{
    Global, check, dump, exit, import, interruptible, media::MediaArguments, output,
    source::SourceArguments, target::TargetArguments,
};
use crate::{
    check::Dump,
    findings::{self, Finding},
    progress::Stopwatch,
    tally::Tally,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// New directory for the dump, which stays [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Take the dump that an earlier run finished, if there is one and Synapse has not gone on since
    #[arg(long)]
    reuse_dump: bool,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: import::ReportArguments,
    #[command(flatten)]
    accepted: check::Accepted,
}

/// What a migration printed.
#[derive(Debug, Serialize)]
struct Outcome {
    /// What was read from Synapse into the dump.
    dumped: Tally,
    /// What became of it.
    #[serde(flatten)]
    imported: import::Outcome,
}

/// What was found before anything was written.
#[derive(Debug, Serialize)]
struct Refused {
    findings: Vec<Finding>,
}

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let accepted = self.accepted.codes();
        let progress = global.progress();
        let mut watch = Stopwatch::start();
        let target = self.target.resolve()?;
        let directory = check::dump_path(self.dump.as_deref(), &target);
        let reused = self.reuse_dump && directory.join("manifest.json").is_file();
        let report = self.report.directory(&target);
        let place = check::place(&self.target, |_| {
            let dump = if reused {
                Dump::Reused(directory.clone(), self.source.extent())
            } else {
                Dump::New(directory.clone())
            };
            (dump, report.clone())
        });
        let mut checks = check::run(&self.source, Some(place));
        if let Ok(Some(surroundings)) = self.source.surroundings() {
            let config = self.source.config().ok().flatten();
            checks.stopped(&surroundings, config.as_ref());
        }
        let mut found = checks.finish();
        findings::accept(&mut found, &accepted);
        if findings::exit_code(&found) == exit::BLOCKING {
            let nothing = Refused { findings: found };
            output::print(global.format, &nothing, |out, nothing| {
                output::findings(out, &nothing.findings)?;
                writeln!(out, "Nothing was written.")
            })?;
            return Ok(exit::BLOCKING);
        }
        watch.lap("check");

        let dumped = if reused {
            info!("taking the dump in `{}`", directory.display());
            crate::dump::DumpReader::peek(&directory)?
        } else {
            dump::write(&self.source, &directory, progress)?
        };
        watch.lap("dump");

        let _interruptible = interruptible()?;
        let run = import::Run {
            target: &target,
            media: &self.media,
            report: &report,
            checked: Some(found),
            open: global.open,
            progress,
        };
        let imported = run.import(&directory, watch)?;
        let outcome = Outcome { dumped: dumped.tally, imported };
        output::print(global.format, &outcome, |out, outcome| {
            writeln!(out, "From Synapse into {}:\n", directory.display())?;
            output::tally(out, &outcome.dumped, "dumped")?;
            writeln!(out, "\nFrom there into Conduit's database:\n")?;
            outcome.imported.text(out, &target)
        })?;
        Ok(outcome.imported.exit_code())
    }
}
