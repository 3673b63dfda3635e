//! `importer media`.

use clap::Args;

use crate::{
    cli::{
        Global,
        arguments::{media::StoreArgument, source::SourceArguments, target::TargetArguments},
        exit, interruptible, output,
    },
    counted::{count, grouped},
    dump::Updated,
    migration::{PreparedFiles, prepare_media},
    size::size,
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example, some days before the move, and once more shortly before it:
  importer media --synapse-config /etc/matrix-synapse/homeserver.yaml \\
      --synapse-config /etc/matrix-synapse/conf.d --conduit-config /etc/matrix-conduit/conduit.toml";

/// What an interrupted run leaves.
const INTERRUPTED: &str = "interrupted; what is copied stays, run the command again to go on";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    output: output::Form,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        self.source.named()?;
        let target = self.target.resolve()?;
        let configuration = Ok(self.source.configuration(self.store.media_store.as_deref())?);
        let homeserver = self.source.homeserver(&configuration);
        let _until_the_end = interruptible(INTERRUPTED.to_owned())?;
        let prepared = prepare_media(&homeserver, &target, global.progress())?;
        output::print(self.output.format, &prepared, text)?;
        Ok(exit::CLEAN)
    }
}

fn text(out: &mut dyn std::io::Write, prepared: &PreparedFiles) -> std::io::Result<()> {
    let PreparedFiles { directory, updated, .. } = prepared;
    let Updated { files, bytes, copied, copied_bytes, removed, left } = *updated;
    writeln!(
        out,
        "{}: {} ready ({}), {} copied now ({}), {} removed",
        directory.display(),
        count(files, "media file"),
        size(bytes),
        grouped(copied),
        size(copied_bytes),
        grouped(removed)
    )?;
    if left > 0 {
        writeln!(
            out,
            "{} could not be read, or changed meanwhile: the migration tries again, and reports those that stay behind.",
            count(left, "file")
        )?;
    }
    writeln!(
        out,
        "`importer migrate` and `importer import` link these files instead of copying Synapse's. Run this command again shortly \
         before the migration: it copies what is new."
    )
}
