//! One room. It is read several times: to number its events (`first_pass`), for its states (`states`), for what events know of
//! later ones (`unsigned`), and to write outliers and timeline (`writer`). Small rooms are read from the disk once (`prefetch`);
//! of a large one, memory holds numbers and difference sets, never the events.
//!
//! Room for the past: if events before the first one are missing, a range of numbers is left unused for them. It is
//! remembered nowhere but in itself: for imported rooms, all numbers between the short room id and the short event id or the count
//! of the first event of the timeline, whichever is less, are free to be counts of that room's events. Imported rooms are those whose short room id
//! is smaller than the admin room's, which is made last.

pub(super) mod admin_room;
mod first_pass;
pub(super) mod hidden;
mod lazy_event;
mod left_out;
pub(super) mod left_rooms;
mod membership;
mod not_joined;
mod numbering;
mod parse_ahead;
mod prefetch;
mod remote_receipts;
mod source;
mod states;
mod unsigned;
mod writer;

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId};

use self::{
    first_pass::FirstPass,
    lazy_event::Parser,
    left_rooms::LeftRoom,
    source::{RoomSource, Sections},
};
use super::{ImportError, context::Context, row_writer::Rows, skip::SkipReason};
use crate::{
    conduit::schema::{
        shapes::{Alias, AliasLocalpart, Room, RoomCount, User},
        trees,
    },
    dump::{DumpReader, format::DumpRoom},
    findings::Finding,
    progress::Progress,
    tally::{Kind, Tally},
};

/// Numbers left free beyond those of the missing events: forks have more events than depth says.
pub(crate) const MARGIN: u64 = 1000;

/// Why a room of a version that Conduit can't hold is left out.
const UNSUPPORTED: &str = "room-version-unsupported";

/// Why a room is left out whose states turn out not to be good enough while they are written.
const NOT_SHOWN: SkipReason =
    SkipReason::new("state-incomplete", "no event has a state before it that can be kept");

/// What later stages need to know of the rooms.
#[derive(Debug, Default)]
pub(super) struct ImportedRooms {
    pub(super) ids: BTreeSet<OwnedRoomId>,
    /// Servers that share a room with this one.
    pub(super) servers: BTreeSet<String>,
    /// Local users in room states, some of whom may not be among the users of the dump.
    pub(super) users_in_states: BTreeSet<OwnedUserId>,
    /// Number of events that the dump holds without their content, as their senders were erased.
    pub(super) erased: u64,
    /// Rooms that local users have left; of a server that keeps them in its own way.
    pub(super) left: Vec<LeftRoom>,
    pub(super) findings: Vec<Finding>,
}

impl ImportedRooms {
    pub(super) fn merge(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.servers.extend(other.servers);
        self.users_in_states.extend(other.users_in_states);
        self.erased += other.erased;
        self.left.extend(other.left);
        self.findings.extend(other.findings);
    }
}

/// Imports all rooms of a dump, as long as `check` finds nothing wrong.
pub(super) fn import(
    dump: &DumpReader,
    context: &Context,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
    mut check: impl FnMut() -> Result<(), ImportError>,
    progress: &Progress,
) -> Result<ImportedRooms, ImportError> {
    let phase = progress.phase("room", dump.number_of_rooms());
    let mut imported = ImportedRooms::default();
    prefetch::each(dump, |room| {
        check()?;
        imported.merge(import_room(room, context, rows, tally)?);
        phase.advance(1);
        Ok(())
    })?;
    Ok(imported)
}

/// Imports a room, or counts why not.
fn import_room(
    source: &dyn RoomSource,
    context: &Context,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<ImportedRooms, ImportError> {
    let head = source.head();
    tally.read(Kind::Room, 1);
    tally.read(Kind::Alias, len(&head.aliases));
    tally.read(Kind::PublishedRoom, u64::from(head.published));
    tally.read(Kind::Membership, len(&head.local_members));
    let parser = Parser::of(head);
    if head.current_state.is_none() && (parser.is_some() || head.room_version.is_none()) {
        return not_joined::import(source, &context.server_name, rows, tally);
    }
    let Some(parser) = parser else {
        let version = head.room_version.as_deref().unwrap_or("unknown");
        let server = rows.dialect();
        let detail =
            format!("{server} can't hold version {version}; upgrade the room on Synapse first");
        let reason = SkipReason::with(UNSUPPORTED, detail);
        return left_out::room(source, Sections::All, &reason, tally);
    };
    let first_pass = FirstPass::of(source, &parser, rows)?;
    if let Some(reason) = first_pass.obstacle(head) {
        return left_out::room(source, Sections::All, &reason, tally);
    }
    let written = writer::write(source, &parser, first_pass, context, rows, tally)?;
    let Some(imported) = written else {
        // States were counted as they were written.
        return left_out::room(source, Sections::Events, &NOT_SHOWN, tally);
    };
    write_aliases(head, &context.server_name, rows, tally)?;
    if head.published {
        rows.mark(&trees::PUBLICROOMIDS, &Room { room: head.room_id.as_str() })?;
        tally.written(Kind::PublishedRoom, 1);
    }
    tally.written(Kind::Room, 1);
    Ok(imported)
}

fn write_aliases(
    head: &DumpRoom,
    server_name: &str,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let room = head.room_id.as_str();
    for alias in &head.aliases {
        if alias.alias.server_name() != server_name {
            let detail = "it is another server's alias";
            tally.skip(Kind::Alias, alias.alias.as_str(), "alias-not-local", detail);
            continue;
        }
        let localpart = AliasLocalpart { alias_localpart: alias.alias.alias() };
        rows.put(&trees::ALIAS_ROOMID, &localpart, &Room { room })?;
        if let Some(creator) = &alias.creator {
            rows.put(&trees::ALIAS_USERID, &localpart, &User { user: creator.as_str() })?;
        }
        let key = RoomCount { room, count: rows.next() };
        rows.put(&trees::ALIASID_ALIAS, &key, &Alias { alias: alias.alias.as_str() })?;
        tally.written(Kind::Alias, 1);
    }
    Ok(())
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
