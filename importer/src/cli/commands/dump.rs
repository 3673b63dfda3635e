//! `importer dump`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    check::{self, census},
    cli::{Global, arguments::source::SourceArguments, exit, output},
    conduit::schema::dialect::Dialect,
    counted::count,
    dump::format::Manifest,
    findings::Finding,
    fs::hints,
    migration,
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer dump --synapse-config /etc/matrix-synapse/homeserver.yaml --dump /var/backups/synapse-dump";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// New directory for the dump
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    /// An earlier dump of the same database, such as a rehearsal's: rooms in which nothing has happened since are taken over
    /// from it by hard links, instead of being read again
    #[arg(long, value_name = "DIR", conflicts_with = "homeserver")]
    since: Option<PathBuf>,
    #[command(flatten)]
    output: output::Form,
}

/// What a dump printed.
#[derive(Debug, Serialize)]
struct Dumped {
    #[serde(flatten)]
    manifest: Manifest,
    /// What the census of the source's tables says.
    findings: Vec<Finding>,
    /// Whether Synapse was seen to run, so that it may have written more since.
    synapse_runs: bool,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let configuration = self.source.configuration(None)?;
        let synapse_runs = configuration
            .as_ref()
            .is_some_and(|known| check::is_running(&known.deployment, &known.config));
        let configuration = Ok(configuration);
        let homeserver = self.source.homeserver(&configuration);
        let progress = global.progress().step(0, 0, "dump");
        let manifest = migration::dump(&homeserver, &self.dump, self.since.as_deref(), progress)?;
        let findings = manifest
            .census
            .as_ref()
            .map(|census| census::findings(census, Dialect::Conduit))
            .unwrap_or_default();
        let dumped = Dumped { manifest, findings, synapse_runs };
        output::print(self.output.format, &dumped, |out, Dumped { manifest, findings, .. }| {
            writeln!(
                out,
                "dumped {} ({}) to {}\n",
                manifest.server_name,
                count(manifest.files.len(), "file"),
                self.dump.display()
            )?;
            output::tally(out, &manifest.tally, "dumped", Dialect::Conduit)?;
            output::since(out, manifest.since.as_ref())?;
            if !findings.is_empty() {
                writeln!(out)?;
                output::findings(out, findings)?;
            }
            if synapse_runs {
                writeln!(
                    out,
                    "\nSynapse is running: whatever it has written since the dump began is missing in the dump. Before the real move, \
             stop Synapse and dump again."
                )?;
            }
            writeln!(
                out,
                "\nThe dump holds password hashes, access tokens and the signing key: keep it as you \
                 keep Synapse's database.\nNext: importer import --dump {} --conduit-config conduit.toml",
                hints::word(self.dump.display())
            )
        })?;
        Ok(exit::of_findings(&dumped.findings))
    }
}
