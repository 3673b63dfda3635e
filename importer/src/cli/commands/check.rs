//! `importer check`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use crate::{
    check::{self, Plan},
    cli::{
        arguments::{
            conduit::ConduitArguments, media::MediaArguments, report::ReportArguments,
            source::SourceArguments, target::TargetOptions,
        },
        exit, output,
    },
    conduit::schema::dialect::Dialect,
    findings::{Finding, codes},
    fs::atomic_dir::{normal, suffixed},
    migration::{self, Checked, Synapse, Target, TargetError},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer check --synapse-config /etc/matrix-synapse/homeserver.yaml \\
      --synapse-config /etc/matrix-synapse/conf.d --conduit-config /etc/matrix-conduit/conduit.toml";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    conduit: ConduitArguments,
    /// Where the dump will be [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Check that the existing dump can be reused, as `migrate --reuse-dump` does
    #[arg(long)]
    reuse_dump: bool,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    accepted: Accepted,
    #[command(flatten)]
    output: output::Form,
}

/// Findings that the operator accepts.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Accepted {
    /// Treat findings of this code as warnings, if they can be accepted; may be given several times
    #[arg(long, value_name = "CODE", value_parser = acceptable)]
    accept: Vec<String>,
}

/// What `check` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    /// [`output::VERSION`].
    version: u32,
    /// The server that is moved to.
    target: Dialect,
    findings: Vec<Finding>,
    /// How much there is to move, and what that needs; none if Synapse could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        self.source.named()?;
        let target = self.target.dialect();
        let place = self.target.is_said().then(|| {
            let target = self.target.resolve().map_err(|error| Box::new(unusable(&error)))?;
            let dump = dump_path(self.dump.as_deref(), &target);
            let dump = migration::planned(dump, self.reuse_dump, self.source.extent());
            let binary = self.conduit.conduit_binary.clone();
            Ok(migration::place(&target, dump, self.report.directory(&target), binary))
        });
        let configuration = self.source.configuration(self.media.store.media_store.as_deref());
        let homeserver = self.source.homeserver(&configuration);
        let checked =
            migration::check(&homeserver, target, place, Synapse::MayRun, &self.accepted.codes());
        let code = exit_code(&checked);
        let outcome = Outcome {
            version: output::VERSION,
            target,
            findings: checked.findings,
            plan: checked.plan,
        };
        output::print(self.output.format, &outcome, |out, outcome| {
            output::findings(out, &outcome.findings)?;
            outcome.plan.as_ref().map_or(Ok(()), |plan| write!(out, "\n{plan}"))
        })?;
        Ok(code)
    }
}

/// The exit code of checks: a Synapse that can't be read is not one of which something was found.
pub(super) fn exit_code(checked: &Checked) -> u8 {
    if checked.is_unreadable { exit::SOURCE } else { exit::of_findings(&checked.findings) }
}

impl Accepted {
    /// The codes.
    pub(in crate::cli) fn codes(&self) -> BTreeSet<String> {
        self.accept.iter().cloned().collect()
    }
}

fn acceptable(code: &str) -> Result<String, String> {
    match codes::find(code) {
        Some(entry) if entry.acceptable => Ok(code.to_owned()),
        Some(_) => Err("such findings can't be accepted".into()),
        None => Err("there is no such code".into()),
    }
}

/// The finding that an unusable configuration of Conduit is.
fn unusable(error: &anyhow::Error) -> Finding {
    let subject = match error.downcast_ref() {
        Some(TargetError::Engine) => "`--backend`",
        _ => "`--conduit-config`, `--conduit-env`",
    };
    codes::CONDUIT_CONFIG.of(subject, check::chain(error.as_ref()))
}

/// Where the dump is: where the operator says, or else beside the database, with `.dump` added.
pub(in crate::cli) fn dump_path(said: Option<&Path>, target: &Target) -> PathBuf {
    said.map_or_else(|| suffixed(&target.directory, ".dump"), normal)
}
