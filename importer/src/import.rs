//! From a dump to the rows of a Conduit database.
//!
//! The same dump gives the same rows: there is no clock and no randomness here; times that must be made up are the
//! dump's. [`import`] has the order. Each stage takes what it needs and gives what later ones need. What can't be written is
//! counted as left out, with a reason.
//!
//! Codes of findings are in [`crate::findings::codes`].

mod appservices;
mod context;
mod events;
pub mod history;
mod lost;
mod media;
mod outbox;
mod rooms;
mod row_writer;
mod server;
mod skip;
mod users;

use std::path::PathBuf;

use media::Copies;
pub use media::{LinkedMedia, MediaTarget};
use ruma::OwnedRoomId;

pub(crate) use self::rooms::MARGIN;
use self::{context::Context, rooms::admin_room, row_writer::Rows, users::receipts_and_unread};
use crate::{
    conduit::{
        schema::keypair::KeypairError,
        store::{KvError, KvLoad},
    },
    counted::count,
    dump::{DumpReader, ReadError, format::DumpServer},
    findings::{Finding, codes},
    fs::{PutError, hints},
    progress::Progress,
    tally::Tally,
};

/// What the import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// What was read from the dump, written to the database and left out.
    pub tally: Tally,
    /// What the operator must know.
    pub findings: Vec<Finding>,
    /// What came from media files that were copied beforehand.
    pub linked: LinkedMedia,
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
        "Synapse's media store ({}) is not on this machine; copy it here and name it with `--media-store`, or dump with `--media copy`",
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
    store: &mut dyn KvLoad,
    media: Option<&MediaTarget>,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let server = dump.server()?;
    let context = Context::new(&server, dump.manifest().created_ts)?;
    std::thread::scope(|scope| {
        let dialect = store.dialect();
        let copies = media.map(|media| Copies::begin(scope, dump, media, dialect));
        import_rows(dump, &server, &context, store, copies, progress)
    })
}

/// Writes all rows, while media files are copied.
fn import_rows(
    dump: &DumpReader,
    server: &DumpServer,
    context: &Context,
    store: &mut dyn KvLoad,
    mut copies: Option<Copies<'_>>,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let server_name = &context.server_name;
    let mut rows = Rows::new(store);
    let mut tally = Tally::default();

    let accounts = users::import(dump, &mut rows, &mut tally, progress)?;
    accounts.signed_keys.write(server_name, &mut rows, &mut tally)?;

    let check = || copies.as_mut().map_or(Ok(()), Copies::check);
    let mut rooms = rooms::import(dump, context, &mut rows, &mut tally, check, progress)?;
    // The admin room has the largest short id of all rooms: see `rooms`.
    rooms.merge(admin_room::import(&accounts.admins, context, &mut rows)?);
    rows.settle()?;
    rooms::left_rooms::write(&rooms.left, &mut rows)?;

    // Read markers name events by their places in timelines.
    receipts_and_unread::import(dump, &rooms.ids, &mut rows, &mut tally, progress)?;
    let mut findings = rooms.findings;
    let (of_media, linked) = media::import(dump, copies, context, &mut rows, &mut tally, progress)?;
    findings.extend(of_media);

    server::blocked_rooms(&server.blocked_rooms, &mut rows, &mut tally)?;
    findings.extend(appservices::import(&server.appservices, server_name, &mut rows, &mut tally)?);
    // Queues name events by their places, rooms' servers and application services.
    outbox::import(dump, server_name, &mut rows, &mut tally)?;
    server::users_without_accounts(&rooms.users_in_states, &mut rows)?;
    server::edu_positions(&rooms.servers, server_name, &mut rows)?;

    server::old_signing_keys(server, &mut rows, &mut tally)?;
    // The version is last: Conduit takes a database without one for an old one.
    rows.finish(server::signing_key(server, &mut tally)?)?;
    findings.extend(erased(rooms.erased, server_name));
    let dialect = store.dialect();
    dialect.reword_skips(&mut tally.skipped);
    findings.extend(lost::findings(&dump.manifest().tally, &tally));
    dialect.reword(&mut findings);
    Ok(Imported { tally, findings, linked })
}

/// What the operator must know of events whose senders were erased.
fn erased(number: u64, server_name: &str) -> Option<Finding> {
    let text = count(number, "event");
    (number > 0).then(|| codes::ERASED_CONTENT.of(server_name, text))
}
