//! `outbox.jsonl`: what Synapse had not yet delivered, one item a line.

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A line of `outbox.jsonl`: something that waits for another server or for an application service. Known from the
/// database only. The items of a destination are in the order in which Synapse would have sent them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DumpOutgoing {
    /// A message for devices of another server's users, such as a room key.
    ToDevice {
        /// The destination.
        server: OwnedServerName,
        /// The content of the EDU `m.direct_to_device`: `sender`, `type`, `message_id`, `messages`.
        content: Box<RawValue>,
    },
    /// The newest event of this server's users in a room that the destination has not received.
    Event {
        /// The destination.
        server: OwnedServerName,
        /// The room.
        room_id: OwnedRoomId,
        /// The event.
        event_id: OwnedEventId,
    },
    /// A local user whose changed devices the destination has not heard of.
    DeviceList {
        /// The destination.
        server: OwnedServerName,
        /// The user.
        user_id: OwnedUserId,
    },
    /// An event of a transaction that the application service has not accepted.
    Appservice {
        /// The application service's id.
        appservice: String,
        /// The event.
        event_id: OwnedEventId,
    },
}
