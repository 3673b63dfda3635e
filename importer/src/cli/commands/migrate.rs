//! `importer migrate`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{check, import};
use crate::{
    cli::{
        Global,
        arguments::{
            conduit::ConduitArguments, media::MediaArguments, report::ReportArguments,
            source::SourceArguments, target::TargetArguments,
        },
        exit, interruptible, output,
    },
    conduit::schema::dialect::Dialect,
    dump::format::{Manifest, Since},
    findings::Finding,
    migration::{Checked, Imported, Migrated, Plan, Target, Watch, migrate},
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
    /// New directory for the dump, which is kept [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Reuse the dump of an earlier run, if it is finished and Synapse was not used since
    #[arg(long)]
    reuse_dump: bool,
    /// An earlier dump of the same database, such as a rehearsal's: rooms in which nothing has happened since are taken over
    /// from it by hard links, instead of being read again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["reuse_dump", "homeserver"])]
    since: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    conduit: ConduitArguments,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    accepted: check::Accepted,
    #[command(flatten)]
    output: output::Form,
}

/// What a migration printed.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Where the dump is.
    dump: PathBuf,
    /// Whether it is one that an earlier run had finished.
    reused_dump: bool,
    /// What of it was taken over from an earlier dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Since>,
    /// What was read from Synapse into the dump.
    dumped: Tally,
    /// What became of it.
    #[serde(flatten)]
    imported: Imported,
}

/// What was found before anything was written.
#[derive(Debug, Serialize)]
struct Refused {
    /// [`output::VERSION`].
    version: u32,
    /// The server that is moved to.
    target: Dialect,
    findings: Vec<Finding>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        self.source.named()?;
        let target = self.target.resolve()?;
        let configuration = self.source.configuration(self.media.store.media_store.as_deref());
        let plan = Plan {
            homeserver: self.source.homeserver(&configuration),
            dump: check::dump_path(self.dump.as_deref(), &target),
            reuse_dump: self.reuse_dump,
            since: self.since.clone(),
            target: &target,
            conduit_binary: self.conduit.conduit_binary.clone(),
            media: self.media.origin(),
            report: self.report.directory(&target),
            accepted: self.accepted.codes(),
            access: global.access,
            progress: global.progress(),
            synapse_config: self.source.files(),
            map_path: &self.source.mapped(),
            signing_key: self.source.signing_key(&configuration),
            program: &output::program(),
        };
        match migrate(&plan, &mut Terminal::default())? {
            Migrated::Refused(checked) => self.refused(checked, &target),
            Migrated::Moved { dumped, reused_dump, imported } => {
                let dump = plan.dump.clone();
                let Manifest { since, tally: dumped, .. } = dumped;
                let outcome = Outcome { dump, reused_dump, since, dumped, imported: *imported };
                self.moved(&outcome, &target)
            }
        }
    }

    fn refused(&self, checked: Checked, target: &Target) -> anyhow::Result<u8> {
        let code = check::exit_code(&checked);
        let nothing = Refused {
            version: output::VERSION,
            target: target.dialect,
            findings: checked.findings,
        };
        output::print(self.output.format, &nothing, |out, nothing| {
            output::findings(out, &nothing.findings)?;
            writeln!(out, "Nothing was written.")
        })?;
        Ok(code)
    }

    fn moved(&self, outcome: &Outcome, target: &Target) -> anyhow::Result<u8> {
        output::print(self.output.format, outcome, |out, outcome| {
            let earlier = if outcome.reused_dump { ", which an earlier run made" } else { "" };
            writeln!(out, "From Synapse into {}{earlier}:\n", outcome.dump.display())?;
            output::tally(out, &outcome.dumped, "dumped", target.dialect)?;
            output::since(out, outcome.since.as_ref())?;
            writeln!(out, "\nFrom there into {}'s database:\n", target.dialect)?;
            import::text(out, &outcome.imported, target)
        })?;
        Ok(exit::of_findings(&outcome.imported.findings))
    }
}

/// Shows on the terminal how a migration goes on, and lets the operator end it.
#[derive(Default)]
struct Terminal {
    interruptible: Option<tokio::runtime::Runtime>,
}

impl Watch for Terminal {
    fn takes_earlier_dump(&mut self, step: &str, plan: &Plan<'_>) {
        output::tell(&format!("{step}: reusing the one in `{}`", plan.dump.display()));
    }

    fn has_dump(&mut self, again: &str) -> anyhow::Result<()> {
        self.interruptible = Some(interruptible(format!("interrupted; {again}"))?);
        Ok(())
    }
}
