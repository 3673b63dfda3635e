//! The third and fourth step: a dump becomes a Conduit database, which is verified, reported on and put into its place.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tracing::warn;

use super::{
    MediaOrigin, Target, VERSION,
    dump::open_dump,
    new_media::{self, NewMedia},
};
use crate::{
    check::{self, census, chain},
    conduit::{
        schema::dialect::Dialect,
        store::{Access, NewStore},
    },
    dump::{DumpReader, PreparedMedia},
    findings::{self, Finding, Severity},
    fs::atomic_dir::Partial,
    import::import,
    progress::{Progress, Stopwatch},
    report::{self, DatabaseFacts, Later, MediaFacts, Prepared, Report, Todo, TreeFacts, Verdict},
    runtime::now_ms,
    tally::Tally,
    verify::{self, StateComparison},
};

/// What an import did.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// [`VERSION`].
    pub version: u32,
    /// The server that the database is for.
    pub target: Dialect,
    /// How it ended.
    pub verdict: Verdict,
    /// The same in one sentence.
    pub headline: String,
    /// Where the database is; `None` if it was not good enough to get its name.
    pub database: Option<PathBuf>,
    /// What moved.
    pub tally: Tally,
    /// What the operator must know.
    pub findings: Vec<Finding>,
    /// Media files that `importer media` had copied, and that were linked.
    pub prepared_media: u64,
    /// Rows that were read back and compared.
    pub rows_verified: u64,
    /// Where the report is; `None` if it could not be written, which is in the log.
    pub report: Option<PathBuf>,
    /// History that is left for later.
    pub later: Later,
    /// What the operator has to do, in this order.
    pub todo: Vec<Todo>,
}

/// Something in the dump makes a Conduit database impossible.
#[derive(Debug, thiserror::Error)]
#[error("the dump can't be imported")]
pub struct Blocked {
    /// Why; at least one is blocking.
    pub findings: Vec<Finding>,
}

/// An import with what is around it.
#[derive(Debug)]
pub struct Import<'a> {
    /// Where the database goes.
    pub target: &'a Target,
    /// How media files move.
    pub media: MediaOrigin,
    /// Where the report goes.
    pub report: &'a Path,
    /// Findings of the checks; `None` if nothing was checked.
    pub checked: Option<Vec<Finding>>,
    /// How the new database is made and read.
    pub access: Access,
    /// Where progress is shown.
    pub progress: Progress,
    /// The number of the import among the steps of the run, and how many there are. Verification is the next one.
    pub steps: (u8, u8),
    /// Synapse's configuration, if it is known.
    pub synapse_config: &'a [PathBuf],
    /// The options that say where the directories of Synapse's container are.
    pub map_path: &'a [String],
    /// Synapse's signing key file, if it is known.
    pub signing_key: Option<&'a Path>,
    /// How a shell runs this program again.
    pub program: &'a str,
}

impl Import<'_> {
    /// Imports a dump into `<target>.partial`, verifies it there, writes the report, and gives the database its name.
    ///
    /// # Errors
    ///
    /// If the dump is damaged or can't be imported, or the target can't be written; nothing has its name then.
    pub fn run(mut self, directory: &Path, mut watch: Stopwatch) -> anyhow::Result<Imported> {
        let (first, of) = self.steps;
        let importing = self.progress.step(first, of, "import");
        let verifying = self.progress.step(first + 1, of, "verify");
        let target = self.target;
        self.media.check(target.dialect)?;
        let partial = Partial::create(&target.directory)?;
        let dump = open_dump(directory, importing)?;
        target.check_server_name(&dump.manifest().server_name)?;
        watch.lap("check the dump's files");

        let media = NewMedia::create(&self.media, target, partial.path(), &dump)?;
        let new = NewStore {
            directory: partial.path(),
            backend: target.backend,
            dialect: target.dialect,
            server_name: &dump.manifest().server_name,
        };
        // To make a database is to wait for the disk, so the dump is checked meanwhile. If something in it blocks, the database
        // goes with its unfinished directory.
        let (store, of_dump) = std::thread::scope(|scope| {
            let checks = scope.spawn(|| check::of_dump(&dump, target.dialect));
            let store = (self.access.create)(&new);
            let of_dump = checks.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (store, of_dump)
        });
        let of_dump = of_dump?;
        if findings::gravest(&of_dump) == Some(Severity::Blocking) {
            return Err(Blocked { findings: of_dump }.into());
        }
        let mut store = store?;
        let imported = import(&dump, store.as_mut(), Some(&media.target), &importing)?;
        drop(store);
        watch.lap("import");

        let store = (self.access.read)(target.backend, partial.path())?;
        let files = media.files(&imported.linked);
        let skipped = &imported.tally.skipped;
        let how = StateComparison::Sample;
        let verified = verify::everything(store.as_ref(), &dump, files, skipped, how, verifying)?;
        drop(store);
        watch.lap("verify");

        let passed = findings::gravest(&verified.findings) != Some(Severity::Blocking);
        let said_before = self.checked.take().unwrap_or(of_dump);
        let mut findings = imported.findings;
        findings.extend(self.about_the_dump(&dump, said_before));
        findings.extend(verified.findings);
        findings.sort();
        let database = self.facts(&verified.rows, &verified.bytes, passed);
        let prepared_media = imported.linked.files;
        let facts =
            self.outcome(&imported.tally, prepared_media, &findings, database, watch.steps());
        let made = Report::of(&dump, facts)?;
        let prepared = made.prepare(self.report);
        let (database, written) = if passed {
            // The report says that the database is complete, so it gets its name after it; what may well fail comes before.
            let prepared = prepared?;
            let prepared_media = media.finish()?;
            let database = partial.finish()?;
            remove(prepared_media);
            (Some(database), prepared.finish())
        } else {
            (None, prepared.and_then(Prepared::finish))
        };
        if let Err(error) = &written {
            warn!("{}", chain(error));
        }
        Ok(Imported {
            version: VERSION,
            target: target.dialect,
            verdict: made.verdict,
            headline: made.headline,
            database,
            tally: imported.tally,
            findings,
            prepared_media,
            rows_verified: verified.rows.values().sum(),
            report: written.is_ok().then(|| self.report.to_owned()),
            later: made.later,
            todo: made.todo,
        })
    }

    /// What the checks said, with the dump's own census in the place of what they guessed of it, and what Conduit's
    /// configuration will do.
    fn about_the_dump(&self, dump: &DumpReader, said_before: Vec<Finding>) -> Vec<Finding> {
        let census = dump.manifest().census.as_ref();
        let is_guess = |finding: &Finding| census.is_some() && census::is_code(finding.code);
        let mut findings: Vec<_> =
            said_before.into_iter().filter(|finding| !is_guess(finding)).collect();
        findings.extend(
            census.into_iter().flat_map(|census| census::findings(census, self.target.dialect)),
        );
        findings.extend(new_media::retention(self.target));
        findings
    }

    /// The facts about the database that the report tells. `rows` and `bytes` are by tree.
    fn facts(
        &self,
        rows: &BTreeMap<&'static str, u64>,
        bytes: &BTreeMap<&'static str, u64>,
        complete: bool,
    ) -> DatabaseFacts {
        let bytes_of = |name| bytes.get(name).copied().unwrap_or(0);
        let tree = |(&name, &rows)| (name, TreeFacts { rows, bytes: bytes_of(name) });
        DatabaseFacts {
            directory: self.target.directory.clone(),
            backend: self.target.backend.to_string(),
            version: self.target.dialect.version(),
            complete,
            trees: rows.iter().map(tree).collect(),
        }
    }

    /// All that the report tells.
    fn outcome<'a>(
        &'a self,
        imported: &'a Tally,
        prepared_media: u64,
        findings: &'a [Finding],
        database: DatabaseFacts,
        steps: &'a [(&'static str, f64)],
    ) -> report::Outcome<'a> {
        report::Outcome {
            media: MediaFacts {
                directory: self.target.media.path().to_owned(),
                uploaded: self.target.uploads_media,
                prepared: prepared_media,
            },
            listen: self.target.service.as_ref().map(|service| reached(service.listen)),
            target: self.target.dialect,
            database,
            imported,
            findings,
            steps,
            made_ts: now_ms(),
            program: self.program,
            synapse_config: self.synapse_config,
            map_path: self.map_path,
            signing_key: self.signing_key,
        }
    }
}

/// Removes prepared files of which the new media directory has links, or copies. Synapse still has the files themselves.
fn remove(prepared: Option<PreparedMedia>) {
    if let Some(prepared) = prepared
        && let Err(error) = prepared.remove()
    {
        warn!(
            "the prepared media files are no longer needed, and were not removed: {}",
            chain(&error)
        );
    }
}

/// How a server that listens there is reached from this machine.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
