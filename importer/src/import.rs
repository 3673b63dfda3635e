//! From a dump to the rows of a Conduit database.
//!
//! The same dump gives the same rows: there is no clock and no randomness here; times that must be made up are the
//! dump's. Users come first, then the rooms, then how far users have read, media, the server's own rows; the version, without which Conduit takes the
//! database for an old one, is last. What can't be written is counted as left out, with a reason.
//!
//! Codes of findings are in [`crate::findings::codes`].

mod appservices;
mod events;
pub mod history;
mod lost;
mod media;
mod outbox;
mod rooms;
mod row_writer;
mod users;

use std::{collections::BTreeSet, path::PathBuf};

pub use media::MediaTarget;
pub(crate) use rooms::MARGIN;
use row_writer::Rows;
use ruma::{OwnedRoomId, OwnedUserId, signatures::Ed25519KeyPair};

use crate::{
    conduit::{
        schema::{
            keypair::{self, KeypairError},
            layout::Part,
            trees,
        },
        store::{KvError, KvStore},
    },
    counted::count,
    dump::{DumpReader, ReadError},
    findings::{Finding, Severity},
    fs::{PutError, hints},
    progress::Progress,
    tally::{Kind, Tally},
};

/// What the import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// What was read from the dump, written to the database and left out.
    pub tally: Tally,
    /// What the operator must know.
    pub findings: Vec<Finding>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The dump could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be written.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The signing key can't be used.
    #[error(transparent)]
    Keypair(#[from] KeypairError),
    /// Synapse's media store is not where the dump says.
    #[error(
        "Synapse's media store ({}) is not here; copy it to this machine and name it by `--media-store`, or dump with `--media copy`",
        shown(paths)
    )]
    MediaStore {
        /// Where it should be.
        paths: Vec<PathBuf>,
    },
    /// A media file could not be written.
    #[error(transparent)]
    Media(#[from] PutError),
    /// A temporary file could not be used.
    #[error("writing a temporary file in `{}`{}", std::env::temp_dir().display(), hints::of(_0))]
    Scratch(#[source] std::io::Error),
    /// The event that hides others could not be made.
    #[error("making the event that hides others in {room}: {reason}; report this")]
    Hidden {
        /// The room.
        room: OwnedRoomId,
        /// What is wrong.
        reason: String,
    },
    /// The events of the admin room could not be made.
    #[error("making the admin room: {0}")]
    AdminRoom(String),
}

/// Database version that the importer writes (src/database/mod.rs:462).
pub const VERSION: u64 = 18;

fn shown(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| format!("`{}`", path.display()));
    paths.collect::<Vec<_>>().join(", ")
}

/// Writes the whole dump into `store`, which must be empty, and finishes it. Media goes to `media`; without it, media is
/// left out. The dump must hold nothing that blocks a migration: whoever imports it has checked that.
///
/// # Errors
///
/// [`ImportError`].
pub fn import(
    dump: &DumpReader,
    store: &mut dyn KvStore,
    media: Option<&MediaTarget>,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let server = dump.server()?;
    let key = &server.signing_key;
    let der = keypair::pkcs8(&key.version, secrecy::ExposeSecret::expose_secret(&key.seed))?;
    let signer = Ed25519KeyPair::from_der(&der, key.version.clone())
        .map_err(|error| ImportError::AdminRoom(error.to_string()))?;
    let mut import = Import {
        rows: Rows::new(store),
        signer,
        tally: Tally::default(),
        server_name: server.server_name.clone(),
        created_ts: dump.manifest().created_ts,
        rooms: BTreeSet::new(),
        admins: Vec::new(),
        servers: BTreeSet::new(),
        in_states: BTreeSet::new(),
        signed: users::encryption::Signed::new(),
        erased: 0,
        findings: Vec::new(),
    };

    let phase = progress.phase("account", dump.number_of_users());
    dump.each_user(|user| {
        let messages = dump.messages(&user.user_id)?;
        import.user(user, messages)?;
        phase.advance(1);
        Ok::<_, ImportError>(())
    })?;
    drop(phase);
    import.signatures()?;

    let phase = progress.phase("room", dump.number_of_rooms());
    rooms::prefetch::each(dump, |room| {
        import.room(room)?;
        phase.advance(1);
        Ok(())
    })?;
    drop(phase);

    import.admin_room(&server.signing_key)?;
    import.rows.settle()?;
    let phase = progress
        .phase_of(["account's read markers", "accounts' read markers"], dump.number_of_users());
    dump.each_user(|user| {
        import.reading(&user)?;
        phase.advance(1);
        Ok::<_, ImportError>(())
    })?;
    drop(phase);

    import.media(dump, media, *progress)?;
    import.server(&server, dump)?;
    import.tell_erased();
    let Import { tally, mut findings, .. } = import;
    findings.extend(lost::findings(&dump.manifest().tally, &tally));
    Ok(Imported { tally, findings })
}

/// An import under way.
struct Import<'a> {
    rows: Rows<'a>,
    /// The server's key.
    signer: Ed25519KeyPair,
    tally: Tally,
    server_name: String,
    created_ts: u64,
    /// Rooms that were imported.
    rooms: BTreeSet<OwnedRoomId>,
    /// Active administrators.
    admins: Vec<(OwnedUserId, Option<String>)>,
    /// Servers that share a room with this one.
    servers: BTreeSet<String>,
    /// Local users in room states, some of whom may not be among the users of the dump.
    in_states: BTreeSet<OwnedUserId>,
    /// Signatures of keys whose owners may come later.
    signed: users::encryption::Signed,
    /// Events that the dump holds without their content, as their senders were erased.
    erased: u64,
    findings: Vec<Finding>,
}

impl Import<'_> {
    /// What belongs to the server as a whole; the version last.
    fn server(
        &mut self,
        server: &crate::dump::format::DumpServer,
        dump: &DumpReader,
    ) -> Result<(), ImportError> {
        for room in &server.blocked_rooms {
            self.tally.read(Kind::BlockedRoom, 1);
            self.rows.put(&trees::DISABLEDROOMIDS, &[Part::Text(room.as_str())], &[])?;
            self.tally.written(Kind::BlockedRoom, 1);
        }
        self.appservices(&server.appservices)?;
        self.outbox(dump)?;
        let old = u64::try_from(server.old_signing_keys.len()).unwrap_or(u64::MAX);
        self.tally.read(Kind::SigningKey, old.saturating_add(1));
        for key in &server.old_signing_keys {
            self.tally.skip(
                Kind::SigningKey,
                &key.key_id,
                "not-in-conduit",
                "a stock Conduit publishes no old keys; other servers know them already",
            );
        }
        self.users_without_accounts()?;
        self.edu_positions()?;
        let key = &server.signing_key;
        let seed = secrecy::ExposeSecret::expose_secret(&key.seed);
        let keypair = keypair::encode(&key.version, seed)?;
        self.tally.written(Kind::SigningKey, 1);
        self.rows.finish(keypair, VERSION)
    }
}

impl Import<'_> {
    fn tell_erased(&mut self) {
        if self.erased > 0 {
            self.findings.push(Finding::import(
                Severity::Warning,
                "I010",
                self.server_name.as_str(),
                count(self.erased, "event"),
                "",
            ));
        }
    }

    /// Gives users that only a room's state knows a row, as Conduit does for each member (src/service/rooms/state_cache/mod.rs:37-41).
    fn users_without_accounts(&mut self) -> Result<(), ImportError> {
        for user in std::mem::take(&mut self.in_states) {
            let key = trees::USERID_PASSWORD.key(&[Part::Text(user.as_str())]);
            if self.rows.get(&trees::USERID_PASSWORD, &key)?.is_none() {
                self.rows.put_raw(&trees::USERID_PASSWORD, key, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Other servers have had all receipts and device lists up to now from Synapse (src/service/sending/mod.rs:269-370).
    fn edu_positions(&mut self) -> Result<(), ImportError> {
        let last = self.rows.last();
        for server in std::mem::take(&mut self.servers) {
            if server != self.server_name {
                let key = [Part::Text(&server)];
                self.rows.put(&trees::SERVERNAME_EDUCOUNT, &key, &[Part::U64(last)])?;
            }
        }
        Ok(())
    }
}

impl Finding {
    fn import(
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, code, subject: subject.into(), text: text.into(), remedy: remedy.into() }
    }
}
