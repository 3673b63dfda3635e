//! `rooms/….jsonl`: the head of a room in the first line, then its states, outliers, timeline and receipts, one a line.

use ruma::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::is_false;
use crate::tally::{OwnersRows, Rows, Tally};

/// The public read receipt of a user of another server, an item of a room's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpRemoteReceipt {
    /// The user.
    pub user_id: OwnedUserId,
    /// Absent for the whole room, `main`, or a thread's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// The event read.
    pub event_id: OwnedEventId,
    /// When it was read.
    pub ts: u64,
}

/// The head of `rooms/NAME.json`; [`DumpState`], outliers ([`DumpEvent`]) and other servers' receipts
/// ([`DumpRemoteReceipt`]) follow it in the same file. The timeline ([`DumpEvent`]) is in `rooms/NAME.timeline.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpRoom {
    /// The room id.
    pub room_id: OwnedRoomId,
    /// The room version. Absent if nobody knows it (an old pending invite).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
    /// Whether the room is in this server's public directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub published: bool,
    /// Local aliases, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<DumpAlias>,
    /// The state after the last event, an id of [`DumpState`]. Absent for rooms that the server was never in (pending
    /// invites, knocks) and for rooms whose state nobody knows any more. For a room that every local user has left,
    /// the state when the last one left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_state: Option<u64>,
    /// Forward extremities, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_extremities: Vec<OwnedEventId>,
    /// Number of timeline events of the room that the dump leaves out at its beginning, if the source can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_events: Option<u64>,
    /// Present memberships of local users, sorted by user id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_members: Vec<DumpMember>,
}

/// A local alias of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DumpAlias {
    /// The alias.
    pub alias: OwnedRoomAliasId,
    /// Who made it. Known from the database only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<OwnedUserId>,
}

/// The present membership of a local user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpMember {
    /// The user.
    pub user_id: OwnedUserId,
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The member event.
    pub event_id: OwnedEventId,
    /// Whether the user has forgotten the room.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forgotten: bool,
    /// For invites and knocks: the stripped state that came with the event (`invite_room_state`, `knock_room_state`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripped_state: Option<Vec<Box<RawValue>>>,
}

/// A state of a room, as a difference to another one. Ids count from 1 within the room, in order of appearance; `base`
/// is smaller than `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpState {
    /// The id.
    pub id: u64,
    /// The state this one differs from; absent: the empty state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Entries that are new or replace others: `[type, state_key, event_id]`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String, OwnedEventId)>,
    /// Entries of `base` that are no longer there: `[type, state_key]`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<(String, String)>,
}

/// What tells a later dump whether it can take over the room's history: its states, its outliers and its timeline. The only item of
/// a room's section `history`, which a room has only if the source can tell this.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpHistory {
    /// What the history was made of. As long as it is the same, the history is the same.
    pub fingerprint: String,
    /// What of the history was read, written and left out.
    pub tally: Tally,
    /// Rows read of Synapse's tables.
    pub rows: OwnersRows,
}

impl DumpHistory {
    /// Of a room, of which `tally` counts nothing else.
    pub fn new(fingerprint: String, tally: &Tally, room_id: &RoomId) -> Self {
        let rows = tally.rows.of_owner(room_id.as_str());
        Self { fingerprint, tally: tally.clone(), rows }
    }

    /// What of the room's history was read, with the rows.
    pub fn tally_of(&self, room_id: &RoomId) -> Tally {
        let rows = Rows::restored(self.rows.clone(), room_id.as_str());
        Tally { rows, ..self.tally.clone() }
    }
}

/// An event. A source may write its `pdu` from another type than what a reader gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DumpEvent<P = Box<RawValue>> {
    /// The event id.
    pub event_id: OwnedEventId,
    /// The state *before* the event, an id of [`DumpState`]. Timeline events have it; the create event hasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_before: Option<u64>,
    /// The event that redacted this one; `pdu` is then the redacted form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted_by: Option<OwnedEventId>,
    /// The sender was erased, so that `pdu` is the redacted form although nothing redacted the event.
    #[serde(default, skip_serializing_if = "is_false")]
    pub erased: bool,
    /// Where the event came in Synapse's stream of events (`stream_ordering`); negative if Synapse fetched it from another server.
    /// Timeline events from a database have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<i64>,
    /// Whether Synapse soft-failed the event. Only outliers can have it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub soft_failed: bool,
    /// The event in the federation format of its room version, hashes and signatures included, without `unsigned` and
    /// (from room version 3 on) without `event_id`.
    pub pdu: P,
}

impl<P> DumpEvent<P> {
    /// The event with another `pdu`, and its own.
    pub(crate) fn exchange<Q>(self, pdu: Q) -> (P, DumpEvent<Q>) {
        let Self { event_id, state_before, redacted_by, erased, stream, soft_failed, pdu: own } =
            self;
        (own, DumpEvent { event_id, state_before, redacted_by, erased, stream, soft_failed, pdu })
    }
}
