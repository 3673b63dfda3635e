//! `importer import`.

use std::{io, path::PathBuf};

use clap::Args;

use crate::{
    cli::{
        Global,
        arguments::{media::MediaArguments, report::ReportArguments, target::TargetArguments},
        exit, output,
    },
    counted::{count, grouped},
    fs::atomic_dir::unfinished,
    migration::{Import, Imported, Target},
    progress::Stopwatch,
    report::Todo,
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer import --dump /var/backups/synapse-dump --conduit-config /etc/matrix-conduit/conduit.toml";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The dump
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    output: output::Form,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let import = Import {
            target: &target,
            media: self.media.origin(),
            report: &self.report.directory(&target),
            checked: None,
            access: global.access,
            progress: global.progress(),
            steps: (1, 2),
            synapse_config: &[],
            map_path: &[],
            signing_key: None,
            program: &output::program(),
        };
        let imported = import.run(&self.dump, Stopwatch::start())?;
        output::print(self.output.format, &imported, |out, imported| text(out, imported, &target))?;
        // What was accepted is a warning if the database is in its place; if it is not, something blocks.
        Ok(exit::of_findings(&imported.findings))
    }
}

/// What was imported, for people.
pub(super) fn text(
    out: &mut dyn io::Write,
    imported: &Imported,
    target: &Target,
) -> io::Result<()> {
    output::tally(out, &imported.tally, "imported", target.dialect)?;
    writeln!(out)?;
    if !imported.findings.is_empty() {
        output::findings(out, &imported.findings)?;
    }
    writeln!(out, "\n{}", imported.headline)?;
    match &imported.database {
        Some(path) => writeln!(
            out,
            "{} rows were read back and match the dump. The database is {}.",
            grouped(imported.rows_verified),
            path.display()
        )?,
        None => writeln!(
            out,
            "Verification failed, so the database was not put in place. It is kept in {} for inspection; the next run \
             removes it.",
            unfinished(&target.directory).display()
        )?,
    }
    if imported.prepared_media > 0 {
        let files = count(imported.prepared_media, "media file");
        writeln!(out, "{files} copied beforehand (`importer media`) did not have to be copied.")?;
    }
    if let Some(report) = &imported.report {
        writeln!(out, "Report: {}", report.join("report.html").display())?;
    }
    writeln!(out, "\nNext:")?;
    for (number, Todo { text, commands }) in (1..).zip(&imported.todo) {
        writeln!(out, "{number:>3}. {text}")?;
        for command in commands {
            writeln!(out, "       {command}")?;
        }
    }
    Ok(())
}
