//! A database against the dump it was made from, in both directions.
//!
//! What the dump holds and the database lacks must be among what the import left out. When nobody says what that was,
//! these rules decide:
//!
//! | item | is left out |
//! |---|---|
//! | room, its aliases and memberships | of a version other than 3 to 12, or without a state |
//! | token, password, pusher | of an account without rights, or of a kind that Conduit lacks |
//! | account data, filter, pusher | that ruma, Conduit's parser, refuses; push rules, ignored users, direct chats and the orders of tags one by one |
//! | event | that Conduit can't read, whose id is not its hash, or without the state before it |
//! | key | that is not its owner's, whose name another key has, or that Conduit can't read; fallback keys |
//! | signature | of a master key that its owner has replaced |
//! | to-device message | of a device that is left out, or without type, sender and content |
//! | key backup | whose version is no number; sessions whose room id is none |
//! | state entry | whose event is not there, or belongs to another key; that is reported with the event, if the dump has it |
//! | receipt | that is not the newest of its user in the room; private, of a thread or of an event that is not in the timeline |
//! | unread counts | of a room that the user is not in |
//! | what waits to be sent | an event that is not in a timeline, or for a server that has left its room; a message that is no canonical JSON |
//! | application service | that Conduit would not start with, or a second one with the same id or token |
//! | membership | whose member event is not there, or not in the room's state; an invite from somebody whom the user ignores; a refused invite to a room that the server is not in |

mod account_data;
mod appservices;
mod directory;
mod encryption;
mod extra;
mod json;
mod key_backups;
pub(super) mod media;
mod outbox;
mod push_rules;
mod pushers;
mod read_markers;
mod rooms;
mod signatures;
mod states;
mod users;

use std::collections::BTreeSet;

use ruma::OwnedRoomId;

use super::{StateComparison, VerifyError, structure::events::Places};
use crate::{
    conduit::{schema::trees, store::KvStore},
    dump::DumpReader,
    findings::{codes, collector::Found},
    progress::Progress,
    tally::{DUPLICATE_EVENT, Kind, Skip},
};

/// Items that the import left out, by kind.
pub(super) struct Skipped<'a> {
    items: BTreeSet<(Kind, &'a str)>,
    /// Timeline events that were left out as they were there already.
    twice: BTreeSet<&'a str>,
    known: bool,
}

impl<'a> Skipped<'a> {
    pub(super) fn of(skips: &'a [Skip]) -> Self {
        let (twice, left_out): (Vec<_>, Vec<_>) = skips
            .iter()
            .partition(|skip| skip.kind == Kind::TimelineEvent && skip.reason == DUPLICATE_EVENT);
        Self {
            items: left_out.into_iter().map(|skip| (skip.kind, skip.item.as_str())).collect(),
            twice: twice.into_iter().map(|skip| skip.item.as_str()).collect(),
            known: !skips.is_empty(),
        }
    }

    /// Whether the dump has an event twice, of which the first one was taken.
    pub(super) fn is_twice(&self, event: &str) -> bool {
        self.twice.contains(event)
    }

    /// Whether an absence is explained.
    pub(super) fn explains(&self, kind: Kind, item: &str) -> bool {
        self.items.contains(&(kind, item))
    }

    /// Whether an item should be in the database: the list of what was left out says so, or else the item itself.
    pub(super) fn keeps(
        &self,
        kind: Kind,
        item: &str,
        can_be_stored: impl FnOnce() -> bool,
    ) -> bool {
        if self.known { !self.explains(kind, item) } else { can_be_stored() }
    }
}

/// What goes on from room to room.
struct Ongoing<'a> {
    reading: read_markers::Reading,
    seen: extra::Seen,
    places: Places<'a>,
}

pub(super) fn compare(
    store: &dyn KvStore,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
    progress: Progress,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let skipped = Skipped::of(skipped);
    let server_name = dump.manifest().server_name.clone();

    let phase = progress.phase("account", dump.number_of_users());
    let mut users = BTreeSet::new();
    let mut account_data = users::KnownAccountData::default();
    let mut signatures = signatures::Signatures::default();
    dump.each_user(|user| {
        users::compare(store, &user, &skipped, &mut account_data, found)?;
        if user.user_id.localpart() != "conduit" {
            let messages = dump.messages(&user.user_id)?;
            encryption::compare(store, &user, messages, &mut signatures, found)?;
            key_backups::compare(store, &user, found)?;
            signatures.signed_by(&user);
        }
        users.insert(user.user_id.to_string());
        phase.advance(1);
        Ok::<_, VerifyError>(())
    })?;
    drop(phase);
    users::extra(store, &users, &server_name, found)?;
    signatures.finish(store, &users, &server_name, found)?;
    users::extra_account_data(store, &users, &account_data, found)?;

    let mut ongoing = Ongoing {
        reading: read_markers::Reading::read(store, &server_name)?,
        seen: extra::Seen::default(),
        places: Places::new(store)?,
    };
    let phase = progress.phase("room", dump.number_of_rooms());
    for room in dump.rooms() {
        rooms::compare(store, room?, &skipped, how, &mut ongoing, found)?;
        phase.advance(1);
    }
    drop(phase);
    let Ongoing { mut reading, seen, .. } = ongoing;
    seen.extra(store, &server_name, found)?;

    let phase = progress
        .phase_of(["account's read markers", "accounts' read markers"], dump.number_of_users());
    dump.each_user(|user| {
        reading.user(store, &user, found)?;
        phase.advance(1);
        Ok::<_, VerifyError>(())
    })?;
    drop(phase);
    reading.extra(store, found)?;
    let server = dump.server()?;
    outbox::compare(store, dump, &skipped, found)?;
    appservices::compare(store, &server.appservices, &server_name, &skipped, found)?;
    blocked_rooms(store, &server.blocked_rooms, found)
}

fn blocked_rooms(
    store: &dyn KvStore,
    blocked: &[OwnedRoomId],
    found: &mut Found,
) -> Result<(), VerifyError> {
    let expected: BTreeSet<_> = blocked.iter().map(|room| room.as_str().to_owned()).collect();
    let mut stored = BTreeSet::new();
    for row in store.scan(&trees::DISABLEDROOMIDS, &[])? {
        let (room, _) = row?;
        stored.insert(String::from_utf8_lossy(&room).into_owned());
    }
    for room in expected.difference(&stored) {
        found.add(&codes::MISSING_IN_DATABASE, room, "is not blocked");
    }
    for room in stored.difference(&expected) {
        found.add(&codes::NOT_IN_DUMP, room, "is blocked, and not in the dump");
    }
    Ok(())
}
