//! `importer migrate`: check, dump, import, verify, report.
//!
//! Each step leaves something only when it is complete: the dump and the database get their names at their ends. So a
//! run that was ended anywhere can be run again. A dump that is complete is taken again only when asked for, and only if
//! Synapse has not gone on since.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{check, dump, import};
use crate::{
    check::Dump,
    cli::{
        Global,
        arguments::{
            media::MediaArguments,
            source::{Configuration, SourceArguments},
            target::TargetArguments,
        },
        exit, interruptible, output,
    },
    findings::{self, Finding},
    progress::Stopwatch,
    tally::Tally,
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer migrate --synapse-config /etc/matrix-synapse/homeserver.yaml \\
      --synapse-config /etc/matrix-synapse/conf.d --conduit-config /etc/matrix-conduit/conduit.toml --accept C301";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
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
    #[command(flatten)]
    output: output::Form,
}

/// Steps of a migration: check, dump, import, verify.
const STEPS: u8 = 4;

/// What a migration printed.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Where the dump is.
    dump: PathBuf,
    /// Whether it is one that an earlier run had finished.
    reused_dump: bool,
    /// What was read from Synapse into the dump.
    dumped: Tally,
    /// What became of it.
    #[serde(flatten)]
    imported: import::Outcome,
}

/// What was found before anything was written.
#[derive(Debug, Serialize)]
struct Refused {
    /// [`output::VERSION`].
    version: u32,
    findings: Vec<Finding>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        self.source.named()?;
        let accepted = self.accepted.codes();
        let progress = global.progress();
        let mut watch = Stopwatch::start();
        let target = self.target.resolve()?;
        let directory = check::dump_path(self.dump.as_deref(), &target);
        let plan = check::planned(directory.clone(), self.reuse_dump, &self.source);
        let is_reused = matches!(plan, Dump::Reused(..));
        let report = self.report.directory(&target);
        let place = check::place(&target, plan, report.clone());
        let configuration = self.source.configuration(self.media.media_store.as_deref());
        let configuration = configuration.as_ref().map(Option::as_ref);
        let phase = progress.step(1, STEPS, "check").phase("finding", 0);
        let check::Looked { mut checks, is_unreadable, .. } =
            check::run(&self.source, configuration, Some(Ok(place)));
        let configuration = configuration.ok().flatten();
        if let Some(Configuration { config, surroundings }) = configuration {
            checks.stopped(surroundings, Some(config));
        }
        let mut found = checks.finish();
        phase.advance(u64::try_from(found.len()).unwrap_or(u64::MAX));
        drop(phase);
        findings::accept(&mut found, &accepted);
        if exit::of_findings(&found) == exit::BLOCKING {
            let code = check::exit_code(&found, is_unreadable);
            let nothing = Refused { version: output::VERSION, findings: found };
            output::print(self.output.format, &nothing, |out, nothing| {
                output::findings(out, &nothing.findings)?;
                writeln!(out, "Nothing was written.")
            })?;
            return Ok(code);
        }
        watch.lap("check");

        let dumped = if is_reused {
            output::tell(&format!(
                "step 2 of {STEPS}, dump: taking the one in `{}`",
                directory.display()
            ));
            crate::dump::DumpReader::peek(&directory)?
        } else {
            dump::write(&self.source, configuration, &directory, progress.step(2, STEPS, "dump"))?
        };
        watch.lap("dump");

        let again = format!(
            "the dump in `{}` is complete: run the command again with `--reuse-dump`, which takes it unless \
             somebody was active on Synapse since",
            directory.display()
        );
        let _interruptible = interruptible(format!("interrupted; {again}"))?;
        let run = import::Run {
            target: &target,
            media: &self.media,
            report: &report,
            checked: Some(found),
            open: global.open,
            progress,
            steps: (3, STEPS),
            synapse_config: self.source.files(),
            map_path: &self.source.mapped(),
        };
        let imported =
            run.import(&directory, watch).map_err(|error| error.context(output::Hint(again)))?;
        let outcome = Outcome {
            dump: directory.clone(),
            reused_dump: is_reused,
            dumped: dumped.tally,
            imported,
        };
        output::print(self.output.format, &outcome, |out, outcome| {
            let earlier = if outcome.reused_dump { ", which an earlier run made" } else { "" };
            writeln!(out, "From Synapse into {}{earlier}:\n", directory.display())?;
            output::tally(out, &outcome.dumped, "dumped")?;
            writeln!(out, "\nFrom there into Conduit's database:\n")?;
            outcome.imported.text(out, &target)
        })?;
        Ok(outcome.imported.exit_code())
    }
}
