//! `importer import`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    Global, dump, exit,
    media::{self, MediaArguments, NewMedia},
    output,
    target::{Target, TargetArguments},
    verify::everything,
};
use crate::{
    conduit::kv::{self, Mode},
    dump::DumpReader,
    findings::{self, Finding},
    import::{self, Imported},
    partial::Partial,
    progress::Progress,
    tally::Tally,
    verify::Files,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The dump
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    media: MediaArguments,
}

/// What an import printed.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Where the database is; `None` if it was not good enough to get its name.
    pub(super) database: Option<PathBuf>,
    /// What moved.
    pub(super) tally: Tally,
    /// What the operator must know.
    pub(super) findings: Vec<Finding>,
    /// Rows that were read back and compared.
    pub(super) rows_verified: u64,
}

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let progress = global.progress();
        let outcome = write(&self.dump, &target, &self.media, progress)?;
        output::print(global.format, &outcome, |out, outcome| outcome.text(out, &target))?;
        Ok(outcome.exit_code())
    }
}

impl Outcome {
    pub(super) fn text(
        &self,
        out: &mut dyn std::io::Write,
        target: &Target,
    ) -> std::io::Result<()> {
        output::tally(out, &self.tally, "imported")?;
        writeln!(out)?;
        if !self.findings.is_empty() {
            output::findings(out, &self.findings)?;
        }
        match &self.database {
            Some(path) => writeln!(
                out,
                "\n{} rows were read back and are what the dump says. The database is {}.\n\
                 Next: give the directory to the user that Conduit runs as, keep Synapse stopped, start Conduit.",
                self.rows_verified,
                path.display()
            ),
            None => writeln!(
                out,
                "\nThe database did not pass and has no name; it is in {}.partial for a look. The next run removes it.",
                target.directory.display()
            ),
        }
    }

    /// Warnings were printed; a database that passed is a success.
    pub(super) fn exit_code(&self) -> u8 {
        if self.database.is_some() { exit::CLEAN } else { findings::exit_code(&self.findings) }
    }
}

/// Imports a dump: into `<target>.partial`, verified there, then renamed.
pub(super) fn write(
    directory: &std::path::Path,
    target: &Target,
    media: &MediaArguments,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let partial = Partial::create(&target.directory)?;
    let dump = dump::open(directory, progress)?;
    target.check_server_name(&dump.manifest().server_name)?;
    let media = NewMedia::create(media, target, partial.path())?;
    let imported = fill(&dump, &partial, target, &media, progress)?;
    let store = kv::open(target.backend, partial.path(), Mode::Read)?;
    let files = Files { directory: media.directory(), store: media.target.store.as_ref() };
    let verified = everything(store.as_ref(), &dump, files, &imported.tally.skipped, progress)?;
    drop(store);
    let passed = findings::exit_code(&verified.findings) != exit::BLOCKING;
    let mut findings = imported.findings;
    findings.extend(verified.findings);
    findings.extend(media::retention(target));
    findings.sort();
    if passed {
        media.finish()?;
    }
    Ok(Outcome {
        database: passed.then(|| partial.finish()).transpose()?,
        tally: imported.tally,
        findings,
        rows_verified: verified.rows.values().sum(),
    })
}

fn fill(
    dump: &DumpReader,
    partial: &Partial,
    target: &Target,
    media: &NewMedia,
    progress: Progress,
) -> anyhow::Result<Imported> {
    let mut store = kv::open(target.backend, partial.path(), Mode::Create)?;
    Ok(import::import(dump, store.as_mut(), Some(&media.target), &progress)?)
}
