//! A database against the dump it was made from, in both directions.
//!
//! Items of the dump that the database lacks must be among those that the import left out. Without the list of these, the
//! following rules decide:
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
//! | receipt | of a user who has a later one in the room, or one for the room while this one is for a thread; private, of a thread or of an event that is not in the timeline |
//! | unread counts | of a room that the user is not in |
//! | what waits to be sent | an event that is not in a timeline, or for a server that has left its room; a message that is no canonical JSON |
//! | application service | that Conduit would not start with, or a second one with the same id or token |
//! | membership | whose member event is not there, or not in the room's state; an invite from somebody whom the user ignores; a refused invite to a room that the server is not in |

mod account_data;
mod appservices;
mod continuwuity;
mod directory;
mod encryption;
mod extra;
mod json;
mod key_backups;
pub(super) mod media;
mod named;
mod outbox;
mod push_rules;
mod pushers;
mod receipts_and_unread;
mod rooms;
mod signatures;
mod states;
mod users;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use ruma::OwnedRoomId;

use super::{
    StateComparison, VerifyError,
    tools::{parts, sequence_hash::Timelines},
};
use crate::{
    conduit::{
        schema::{dialect::Dialect, trees},
        store::KvRead,
    },
    dump::{
        DumpReader, ReadError, RoomReader,
        format::{DumpUser, FileEntry},
    },
    findings::{codes, collector::Findings},
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

    /// Whether an item should be in the database: by the list of what was left out, or else by the item itself.
    pub(super) fn keeps(
        &self,
        kind: Kind,
        item: &str,
        can_be_stored: impl FnOnce() -> bool,
    ) -> bool {
        if self.known { !self.explains(kind, item) } else { can_be_stored() }
    }
}

/// Bytes of the file of a user of whom one is in memory at a time: what such users own may fill it.
const LARGE: u64 = 256 << 10;

pub(super) fn compare(
    store: &dyn KvRead,
    dump: &DumpReader,
    skipped: &[Skip],
    how: StateComparison,
    timelines: &Timelines,
    progress: Progress,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let skipped = Skipped::of(skipped);
    let server_name = dump.manifest().server_name.clone();

    let mut reading = receipts_and_unread::Reading::read(store)?;
    let mut seen = extra::Seen::default();
    let phase = progress.phase("room", dump.number_of_rooms());
    let of_room = |store: &dyn KvRead, room: Result<RoomReader, ReadError>| {
        rooms::compare(store, room?, &skipped, how, timelines, &server_name)
    };
    parts::work(store, dump.rooms(), of_room, |room| {
        found.merge(room.found);
        seen.merge(room.seen);
        reading.room(room.reading, found);
        phase.advance(1);
        Ok(())
    })?;
    drop(phase);
    seen.extra(store, &server_name, found)?;

    let phase = progress.phase("account", dump.number_of_users());
    let mut users = BTreeSet::new();
    let mut account_data = users::KnownAccountData::default();
    let mut signatures = signatures::Signatures::default();
    let mut pushers = continuwuity::PusherDevices::default();
    let alone = Mutex::new(());
    let begins = reading.begins();
    let of_user = |store: &dyn KvRead, file: &FileEntry| {
        let lock = || alone.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = (file.bytes >= LARGE).then(lock);
        account(store, dump, &dump.user(file)?, &skipped, &begins)
    };
    parts::work(store, dump.user_files(), of_user, |account| {
        found.merge(account.found);
        account_data.merge(account.data);
        signatures.merge(account.signatures);
        pushers.merge(account.pushers);
        reading.expect(account.reading, found);
        users.insert(account.id);
        phase.advance(1);
        Ok(())
    })?;
    drop(phase);
    users::extra(store, &users, &server_name, found)?;
    signatures.finish(store, &users, &server_name, found)?;
    users::extra_account_data(store, &users, &account_data, found)?;
    reading.extra(store, found)?;
    let server = dump.server()?;
    outbox::compare(store, dump, &skipped, found)?;
    appservices::compare(store, &server.appservices, &server_name, &skipped, found)?;
    if store.dialect() == Dialect::Continuwuity {
        continuwuity::server(store, &server, &users, &pushers, found)?;
        continuwuity::invite_senders(store, found)?;
    }
    blocked_rooms(store, &server.blocked_rooms, found)
}

/// What comes of an account.
struct Account {
    id: String,
    data: users::KnownAccountData,
    signatures: signatures::Signatures,
    pushers: continuwuity::PusherDevices,
    reading: Vec<receipts_and_unread::Expected>,
    found: Findings,
}

/// Compares an account and all that it owns.
fn account(
    store: &dyn KvRead,
    dump: &DumpReader,
    user: &DumpUser,
    skipped: &Skipped<'_>,
    begins: &receipts_and_unread::Begins,
) -> Result<Account, VerifyError> {
    let mut account = Account {
        id: user.user_id.to_string(),
        data: users::KnownAccountData::default(),
        signatures: signatures::Signatures::default(),
        pushers: continuwuity::PusherDevices::default(),
        reading: Vec::new(),
        found: Findings::default(),
    };
    let Account { data, signatures, pushers, found, .. } = &mut account;
    users::compare(store, user, skipped, data, found)?;
    if user.user_id.localpart() != "conduit" {
        let messages = dump.messages(&user.user_id)?;
        encryption::compare(store, user, messages, signatures, found)?;
        key_backups::compare(store, user, found)?;
        if store.dialect() == Dialect::Continuwuity {
            let rights = users::may_act(user, Dialect::Continuwuity);
            continuwuity::account(store, user, dump.manifest().created_ts, rights, found)?;
            pushers.add(store, user, found)?;
        }
        signatures.signed_by(user);
        account.reading = receipts_and_unread::of_user(store, user, begins, found)?;
    }
    Ok(account)
}

fn blocked_rooms(
    store: &dyn KvRead,
    blocked: &[OwnedRoomId],
    found: &mut Findings,
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
