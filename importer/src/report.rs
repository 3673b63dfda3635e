//! What a migration did, for the operator: `report.json` for machines, `report.html` for people, and its tables as CSV.
//!
//! A report names users, rooms and what was left out; it holds no secret and no message. Its files are for their owner
//! alone (mode 0600) all the same: who is in which room is nobody else's business.

mod csv;
mod date;
mod html;
mod next_steps;
mod rooms;
mod users;
mod verdict;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

pub use self::{
    next_steps::Todo,
    rooms::{Later, RoomFacts},
    users::UserFacts,
    verdict::Verdict,
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{
        DumpReader, History, ReadError,
        census::Census,
        format::{Manifest, SourceInfo},
    },
    findings::Finding,
    fs::{atomic_dir, hints},
    tally::{Kind, Skip, Tally},
};

/// The version of `report.json`, see `docs/json.md`.
pub const VERSION: u32 = 2;
/// The first version that says what the import left out as this one does.
const OLDEST: u32 = 1;
/// The report for machines.
const JSON: &str = "report.json";
/// The report for people.
const HTML: &str = "report.html";
/// Its table of rooms.
const ROOMS: &str = "rooms.csv";
/// Its table of accounts.
const USERS: &str = "users.csv";
/// Everything that was left out.
const LEFT_OUT: &str = "left-out.csv";

/// A report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The server that was moved to.
    pub target: Dialect,
    /// How it ended.
    pub verdict: Verdict,
    /// The same in one sentence.
    pub headline: String,
    /// When the report was made, in milliseconds since 1970.
    pub made_ts: u64,
    /// The version of the importer.
    pub importer_version: &'static str,
    /// The server.
    pub server_name: String,
    /// The dump.
    pub dump: DumpFacts,
    /// The database that was made of it.
    pub database: DatabaseFacts,
    /// The media files that moved.
    pub media: MediaSums,
    /// What the operator has to do, in this order.
    pub todo: Vec<Todo>,
    /// History that is left for later.
    pub later: Later,
    /// What the operator must know, the worst first.
    pub findings: Vec<Finding>,
    /// What became of everything, by kind.
    pub kinds: Vec<KindFacts>,
    /// What became of every row of Synapse's tables; `None` if it was read by its APIs, which show no tables.
    pub census: Option<Census>,
    /// Seconds by step, in their order.
    pub steps: Vec<StepFacts>,
    /// Rooms, sorted by id.
    pub rooms: Vec<RoomFacts>,
    /// Accounts, sorted by id.
    pub users: Vec<UserFacts>,
    /// What the dump left out.
    pub left_out_by_dump: Vec<Skip>,
    /// What the import left out.
    pub left_out_by_import: Vec<Skip>,
}

/// The dump of a report.
#[derive(Clone, Debug, Serialize)]
pub struct DumpFacts {
    /// Where it is.
    pub directory: PathBuf,
    /// When it was begun.
    pub created_ts: u64,
    /// What was read.
    pub source: SourceInfo,
    /// Bytes by directory of the dump; `server.json` stands for itself.
    pub bytes: BTreeMap<String, u64>,
}

/// The database of a report.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseFacts {
    /// Where it is, or would be.
    pub directory: PathBuf,
    /// Its engine.
    pub backend: String,
    /// The version of its layout, which the server knows it by.
    pub version: u64,
    /// Whether it passed and has its name.
    pub complete: bool,
    /// Rows and bytes by tree, as they were read back.
    pub trees: BTreeMap<&'static str, TreeFacts>,
}

/// Where media files are.
#[derive(Clone, Debug)]
pub struct MediaFacts {
    /// The directory.
    pub directory: PathBuf,
    /// Whether Conduit reads them from a bucket, to which they have to be uploaded.
    pub uploaded: bool,
    /// Those that `importer media` had copied, and that were linked.
    pub prepared: u64,
}

/// Media files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MediaSums {
    /// How many.
    pub files: u64,
    /// Their bytes, as Synapse noted them.
    pub bytes: u64,
    /// Those that `importer media` had copied, and that were linked.
    pub prepared: u64,
}

/// A tree of the database.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TreeFacts {
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What became of a kind. `read_from_synapse` = `dumped` + what the dump left out; `read_from_dump` = `written` + what
/// the import left out. The two sides may count differently what one of them makes up or passes over as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct KindFacts {
    /// The kind.
    pub kind: Kind,
    /// Read from Synapse.
    pub read_from_synapse: u64,
    /// Written into the dump.
    pub dumped: u64,
    /// Read from the dump.
    pub read_from_dump: u64,
    /// Written into the database.
    pub written: u64,
    /// Left out by dump and import, each with a reason.
    pub left_out: u64,
}

/// A step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepFacts {
    /// Its name.
    pub step: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// What a report is made of besides the dump.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The server that is moved to.
    pub target: Dialect,
    /// Where the database is, or would be.
    pub database: DatabaseFacts,
    /// Where the media files are.
    pub media: MediaFacts,
    /// Where the server will listen, as the reverse proxy reaches it, if its configuration says it.
    pub listen: Option<SocketAddr>,
    /// What the import did.
    pub imported: &'a Tally,
    /// All findings.
    pub findings: &'a [Finding],
    /// Steps and their seconds.
    pub steps: &'a [(&'static str, f64)],
    /// When the report is made, in milliseconds since 1970.
    pub made_ts: u64,
    /// How a shell runs this program again.
    pub program: &'a str,
    /// Synapse's configuration, if it is known.
    pub synapse_config: &'a [PathBuf],
    /// The options that say where the directories of Synapse's container are: `--map-path /THERE=/HERE`.
    pub map_path: &'a [String],
    /// Synapse's signing key file, if it is known.
    pub signing_key: Option<&'a Path>,
}

impl Report {
    /// Makes a report, reading the dump once more for its tables.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn of(dump: &DumpReader, outcome: Outcome<'_>) -> Result<Self, ReadError> {
        let manifest = dump.manifest();
        let mut joined = BTreeMap::new();
        let rooms = rooms::read(dump, outcome.imported, &mut joined)?;
        let uploads = users::Uploads::read(dump, outcome.imported)?;
        let media = MediaSums { prepared: outcome.media.prepared, ..uploads.moved };
        let users = users::read(dump, outcome.imported, &joined, uploads)?;
        let extent = manifest.source.extent;
        let recent = extent.is_some_and(|extent| extent.history == History::Recent);
        let later = Later::of(&rooms, recent);
        let steps = outcome.steps.iter().map(|&(step, seconds)| StepFacts { step, seconds });
        let mut report = Self {
            version: VERSION,
            target: outcome.target,
            verdict: Verdict::NotComplete,
            headline: String::new(),
            made_ts: outcome.made_ts,
            importer_version: env!("CARGO_PKG_VERSION"),
            media,
            server_name: manifest.server_name.clone(),
            dump: DumpFacts {
                directory: atomic_dir::normal(dump.directory()),
                created_ts: manifest.created_ts,
                source: manifest.source.clone(),
                bytes: bytes(manifest),
            },
            todo: next_steps::list(&outcome, dump.directory(), &later),
            later,
            database: outcome.database,
            findings: outcome.findings.to_vec(),
            kinds: kinds(&manifest.tally, outcome.imported),
            census: manifest.census.clone(),
            steps: steps.collect(),
            rooms,
            users,
            left_out_by_dump: manifest.tally.skipped.clone(),
            left_out_by_import: outcome.imported.skipped.clone(),
        };
        (report.verdict, report.headline) = report.judge();
        Ok(report)
    }

    /// Writes all files into `directory`, which is made if need be, without their names yet.
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub fn prepare(&self, directory: &Path) -> Result<Prepared, ReportError> {
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let mut json = serde_json::to_vec_pretty(self)?;
            json.push(b'\n');
            let mut files = vec![(JSON, file(directory, &json)?)];
            for (name, text) in [
                (ROOMS, csv::rooms(self)),
                (USERS, csv::users(self)),
                (LEFT_OUT, csv::left_out(self)),
                (HTML, html::page(self)),
            ] {
                files.push((name, file(directory, text.as_bytes())?));
            }
            Ok(files)
        };
        let directory = directory.to_owned();
        match write() {
            Ok(files) => Ok(Prepared { directory, files }),
            Err(source) => Err(ReportError { directory, source }),
        }
    }
}

/// A report that is on the disk and lacks only its name.
#[derive(Debug)]
pub struct Prepared {
    directory: PathBuf,
    files: Vec<(&'static str, NamedTempFile)>,
}

impl Prepared {
    /// Gives the files their names. Those of an earlier run are replaced.
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub fn finish(self) -> Result<(), ReportError> {
        for (name, file) in self.files {
            if let Err(error) = file.persist(self.directory.join(name)) {
                return Err(ReportError { directory: self.directory, source: error.error });
            }
        }
        Ok(())
    }
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the report to `{}`{}; `--report` names another directory", directory.display(), hints::of(source))]
pub struct ReportError {
    /// Where it was to be.
    directory: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// A temporary file, which is for its owner alone from the beginning.
fn file(directory: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Where the report on a database is by default: beside it, with `.report` added.
pub fn beside(database: &Path) -> PathBuf {
    atomic_dir::suffixed(database, ".report")
}

/// What the import that is reported in `directory` left out. `None` if there is no such report, or one of another dump.
pub fn left_out(directory: &Path, dump: &Manifest) -> Option<Vec<Skip>> {
    #[derive(Deserialize)]
    struct Of {
        version: u32,
        server_name: String,
        dump: Dump,
        left_out_by_import: Vec<Skip>,
    }
    #[derive(Deserialize)]
    struct Dump {
        created_ts: u64,
    }

    let report: Of = serde_json::from_slice(&fs::read(directory.join(JSON)).ok()?).ok()?;
    let is_of_dump = (OLDEST..=VERSION).contains(&report.version)
        && report.server_name == dump.server_name
        && report.dump.created_ts == dump.created_ts;
    is_of_dump.then_some(report.left_out_by_import)
}

fn bytes(manifest: &Manifest) -> BTreeMap<String, u64> {
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for file in &manifest.files {
        let directory = file.path.split_once('/').map_or(file.path.as_str(), |(first, _)| first);
        let sum = bytes.entry(directory.to_owned()).or_default();
        *sum = sum.saturating_add(file.bytes);
    }
    bytes
}

fn kinds(dumped: &Tally, imported: &Tally) -> Vec<KindFacts> {
    let of = |counts: &BTreeMap<Kind, u64>, kind| counts.get(&kind).copied().unwrap_or(0);
    let mut left_out: BTreeMap<Kind, u64> = BTreeMap::new();
    for skip in dumped.skipped.iter().chain(&imported.skipped) {
        let count = left_out.entry(skip.kind).or_default();
        *count = count.saturating_add(skip.number);
    }
    let counts = [&dumped.read, &dumped.written, &imported.read, &imported.written, &left_out];
    let kinds: BTreeSet<Kind> = counts.iter().flat_map(|counts| counts.keys().copied()).collect();
    kinds
        .into_iter()
        .map(|kind| KindFacts {
            kind,
            read_from_synapse: of(&dumped.read, kind),
            dumped: of(&dumped.written, kind),
            read_from_dump: of(&imported.read, kind),
            written: of(&imported.written, kind),
            left_out: of(&left_out, kind),
        })
        .collect()
}
