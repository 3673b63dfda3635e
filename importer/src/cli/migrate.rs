//! `importer migrate`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{
    Global, dump, import,
    media::MediaArguments,
    output,
    source::SourceArguments,
    target::{Target, TargetArguments},
};
use crate::{partial, tally::Tally};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// New directory for the dump, which stays [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    media: MediaArguments,
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

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let progress = global.progress();
        refuse_used(&target)?;
        let directory = self.dump.clone().unwrap_or_else(|| default_dump(&target.directory));
        let manifest = dump::write(&self.source, &directory, progress)?;
        let imported = import::write(&directory, &target, &self.media, progress)?;
        let outcome = Outcome { dumped: manifest.tally, imported };
        output::print(global.format, &outcome, |out, outcome| {
            writeln!(out, "From Synapse into {}:\n", directory.display())?;
            output::tally(out, &outcome.dumped, "dumped")?;
            writeln!(out, "\nFrom there into Conduit's database:\n")?;
            outcome.imported.text(out, &target)
        })?;
        Ok(outcome.imported.exit_code())
    }
}

/// Says so before the long work, not after it.
fn refuse_used(target: &Target) -> anyhow::Result<()> {
    for path in [&target.directory, target.media.path()] {
        if !partial::is_free(path)? {
            return Err(partial::PartialError::NotEmpty { path: path.to_owned() }.into());
        }
    }
    Ok(())
}

fn default_dump(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".dump");
    name.into()
}
