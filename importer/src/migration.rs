//! A migration, step by step: [`migrate`] reads like the runbook that it is. It knows no command line and prints nothing:
//! what goes on is told to a [`Watch`], what came of it is returned.
//!
//! Each step leaves something only when it is complete: the dump and the database get their names at their ends. So a
//! run that was ended anywhere can be run again. A dump that is complete is taken again only when asked for, and only if
//! Synapse has not gone on since.

mod check;
mod dump;
mod import;
mod media;
mod new_media;
mod target;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

pub use self::{
    check::{Checked, Synapse, check, place, planned},
    dump::{dump, open_dump},
    import::{Blocked, Import, Imported},
    media::{PreparedFiles, prepare_media},
    new_media::MediaOrigin,
    target::{Target, TargetError},
};
use crate::{
    conduit::store::Access,
    dump::{DumpReader, Extent, format::Manifest},
    progress::{Progress, Stopwatch},
    source::Source,
    synapse::config::{ConfigError, Configuration},
};

/// The version of what a migration and its steps are as JSON, see `docs/json.md`.
pub const VERSION: u32 = 1;

/// Steps of a migration: check, dump, import, verify.
const STEPS: u8 = 4;

/// The homeserver that moves: how it is read, and how much of it.
#[derive(Clone, Copy)]
pub struct Homeserver<'a> {
    /// Synapse's configuration, or why it can't be used. `None` if Synapse's APIs are read.
    pub configuration: Result<Option<&'a Configuration>, &'a ConfigError>,
    /// How much is read.
    pub extent: Extent,
    /// Connects to it.
    pub connect: &'a dyn Connect,
}

/// Connects to a homeserver.
#[async_trait(?Send)]
pub trait Connect: Sync {
    /// A source of all that moves. `configuration` is absent if Synapse's APIs are read.
    ///
    /// # Errors
    ///
    /// If the homeserver can't be read.
    async fn connect(
        &self,
        configuration: Option<&Configuration>,
    ) -> anyhow::Result<Box<dyn Source>>;
}

impl Homeserver<'_> {
    async fn open(&self) -> anyhow::Result<Box<dyn Source>> {
        self.connect.connect(self.configuration.ok().flatten()).await
    }
}

impl fmt::Debug for Homeserver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Homeserver").field("extent", &self.extent).finish_non_exhaustive()
    }
}

/// A migration: from where, to where.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The homeserver.
    pub homeserver: Homeserver<'a>,
    /// Where the dump goes, or is.
    pub dump: PathBuf,
    /// Whether a dump that is there is taken.
    pub reuse_dump: bool,
    /// An earlier dump, from which rooms' histories are taken over where nothing has happened since.
    pub since: Option<PathBuf>,
    /// Where the database goes.
    pub target: &'a Target,
    /// Conduit's program, if the operator names it.
    pub conduit_binary: Option<PathBuf>,
    /// How media files move.
    pub media: MediaOrigin,
    /// Where the report goes.
    pub report: PathBuf,
    /// Codes of findings that shall not block.
    pub accepted: BTreeSet<String>,
    /// How the new database is made and read.
    pub access: Access,
    /// Where progress is shown.
    pub progress: Progress,
    /// The files of Synapse's configuration as they were given, for commands that are proposed.
    pub synapse_config: &'a [PathBuf],
    /// The options that say where the directories of Synapse's container are, for the same.
    pub map_path: &'a [String],
    /// Synapse's signing key file, if it is known, for the same.
    pub signing_key: Option<&'a Path>,
    /// How a shell runs this program again, for the same.
    pub program: &'a str,
}

/// Is told how a migration goes on.
pub trait Watch {
    /// The dump of an earlier run is taken.
    fn takes_earlier_dump(&mut self, step: &str, plan: &Plan<'_>);

    /// The dump is complete. `again` says how a later run takes it, whatever happens from now on.
    ///
    /// # Errors
    ///
    /// Whatever shall end the migration.
    fn has_dump(&mut self, again: &str) -> anyhow::Result<()>;
}

/// How a migration ended.
#[derive(Debug)]
pub enum Migrated {
    /// The checks found what must not be; nothing was written.
    Refused(Checked),
    /// The database was made, and verified.
    Moved {
        /// What was read from Synapse.
        dumped: Manifest,
        /// Whether an earlier run had read it.
        reused_dump: bool,
        /// What became of it.
        imported: Box<Imported>,
    },
}

/// What to do after an error, as its context.
#[derive(Debug)]
pub struct Hint(pub String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Moves a homeserver.
///
/// # Errors
///
/// If a step can't be completed; what earlier steps completed stays.
pub fn migrate(plan: &Plan<'_>, watch: &mut dyn Watch) -> anyhow::Result<Migrated> {
    let Plan { homeserver, target, progress, .. } = plan;
    let mut stopwatch = Stopwatch::start();

    plan.media.check(target.dialect)?;

    // 1. Look for whatever could go wrong. Nothing is written.
    let planned = planned(plan.dump.clone(), plan.reuse_dump, homeserver.extent);
    let reused_dump = matches!(planned, crate::check::Dump::Reused(..));
    let place = place(target, planned, plan.report.clone(), plan.conduit_binary.clone());
    let phase = progress.step(1, STEPS, "check").phase("finding", 0);
    let checked =
        check(homeserver, target.dialect, Some(Ok(place)), Synapse::MustBeStopped, &plan.accepted);
    phase.advance(u64::try_from(checked.findings.len()).unwrap_or(u64::MAX));
    drop(phase);
    if checked.blocks() {
        return Ok(Migrated::Refused(checked));
    }
    stopwatch.lap("check");

    // 2. Read Synapse into a dump, or take the one that an earlier run made.
    let dumped = if reused_dump {
        watch.takes_earlier_dump(&format!("step 2 of {STEPS}, dump"), plan);
        DumpReader::peek(&plan.dump)?
    } else {
        dump(homeserver, &plan.dump, plan.since.as_deref(), progress.step(2, STEPS, "dump"))?
    };
    stopwatch.lap("dump");
    let again = format!(
        "the dump in `{}` is complete: run the command again with `--reuse-dump`, which reuses it unless somebody \
             used Synapse since",
        plan.dump.display()
    );
    watch.has_dump(&again)?;

    // 3, 4. Write the database, read it back, report, and put it into its place.
    let import = Import {
        target,
        media: plan.media.clone(),
        report: &plan.report,
        checked: Some(checked.findings),
        access: plan.access,
        progress: *progress,
        steps: (3, STEPS),
        synapse_config: plan.synapse_config,
        map_path: plan.map_path,
        signing_key: plan.signing_key,
        program: plan.program,
    };
    let imported = import.run(&plan.dump, stopwatch).map_err(|error| error.context(Hint(again)))?;
    Ok(Migrated::Moved { dumped, reused_dump, imported: imported.into() })
}
