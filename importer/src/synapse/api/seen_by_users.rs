//! What users saw of rooms that they are not in.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::value::RawValue;

use crate::dump::format::DumpRemoteReceipt;

/// What a user sees of a room that it is not in.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// An invite, with the stripped state that `/sync` shows. The event's id is known for rooms of other servers only.
    Invite(Vec<Box<RawValue>>, Option<OwnedEventId>),
    /// A knock, with its stripped state.
    Knock(Vec<Box<RawValue>>),
    /// The user left or was banned: the event and its membership, if `/sync` showed them.
    Left(Option<(OwnedEventId, String)>),
}

/// What the users' syncs showed.
#[derive(Debug, Default)]
pub(super) struct SeenByUsers {
    synced: BTreeSet<OwnedUserId>,
    rooms: BTreeMap<OwnedRoomId, BTreeMap<OwnedUserId, Seen>>,
    /// Other servers' receipts, as one of the users in the room saw them.
    receipts: BTreeMap<OwnedRoomId, BTreeSet<DumpRemoteReceipt>>,
}

impl SeenByUsers {
    /// Notes that what a user sees is known.
    pub(super) fn synced(&mut self, user_id: &UserId) {
        self.synced.insert(user_id.to_owned());
    }

    pub(super) fn note(&mut self, room_id: OwnedRoomId, user_id: &UserId, seen: Seen) {
        self.rooms.entry(room_id).or_default().insert(user_id.to_owned(), seen);
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = &OwnedRoomId> {
        self.rooms.keys()
    }

    /// What users see of a room. It is not needed twice.
    pub(super) fn take(&mut self, room_id: &RoomId) -> BTreeMap<OwnedUserId, Seen> {
        self.rooms.remove(room_id).unwrap_or_default()
    }

    /// Notes a receipt that everybody in the room sees.
    pub(super) fn receipt(&mut self, room_id: &OwnedRoomId, receipt: DumpRemoteReceipt) {
        if let Some(receipts) = self.receipts.get_mut(room_id) {
            receipts.insert(receipt);
        } else {
            self.receipts.insert(room_id.clone(), BTreeSet::from([receipt]));
        }
    }

    /// Whether somebody has seen a room's receipts.
    pub(super) fn has_receipts(&self, room_id: &RoomId) -> bool {
        self.receipts.contains_key(room_id)
    }

    /// Other servers' receipts in a room. They are not needed twice.
    pub(super) fn take_receipts(&mut self, room_id: &RoomId) -> BTreeSet<DumpRemoteReceipt> {
        self.receipts.remove(room_id).unwrap_or_default()
    }

    pub(super) fn is_synced(&self, user_id: &UserId) -> bool {
        self.synced.contains(user_id)
    }
}
