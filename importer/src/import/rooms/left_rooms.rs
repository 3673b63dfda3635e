//! What Continuwuity shows of rooms that a user has left: the event by which it was left, instead of Conduit's empty list.
//!
//! It shows such a room only if the event is in the timeline, and so is the member event that it replaced
//! (src/service/rooms/state_cache/mod.rs:423, src/api/client/sync/v3/left.rs:129-216 there); for others the row stays as it is.

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;

use crate::{
    conduit::schema::{
        dialect::Dialect,
        shapes::{AsSent, UserRoom},
        trees,
    },
    dump::format::DumpRoom,
    import::{ImportError, row_writer::Rows},
};

/// A room that a local user has left.
#[derive(Debug)]
pub(in crate::import) struct LeftRoom {
    user: OwnedUserId,
    room: OwnedRoomId,
    event: OwnedEventId,
}

/// The members who have left a room and still see it.
pub(super) fn of(head: &DumpRoom) -> impl Iterator<Item = LeftRoom> {
    let has_left = |membership: &str| ["leave", "ban"].contains(&membership);
    let left = head.local_members.iter();
    let left = left.filter(move |member| has_left(&member.membership) && !member.forgotten);
    left.map(|member| LeftRoom {
        user: member.user_id.clone(),
        room: head.room_id.clone(),
        event: member.event_id.clone(),
    })
}

/// Replaces the rows. To be called when timelines can be read.
pub(in crate::import) fn write(rooms: &[LeftRoom], rows: &mut Rows<'_>) -> Result<(), ImportError> {
    if rows.dialect() != Dialect::Continuwuity {
        return Ok(());
    }
    for LeftRoom { user, room, event } in rooms {
        let Some(pdu) = in_timeline(event.as_str(), rows)? else { continue };
        if replaces_member(&pdu, user, rows)? {
            let key = UserRoom { user: user.as_str(), room: room.as_str() };
            rows.put(&trees::USERROOMID_LEFTSTATE, &key, &AsSent { json: &pdu })?;
        }
    }
    Ok(())
}

/// An event as it stands in a timeline.
fn in_timeline(event: &str, rows: &mut Rows<'_>) -> Result<Option<String>, ImportError> {
    let Some(place) = rows.get(&trees::EVENTID_PDUID, event.as_bytes())? else { return Ok(None) };
    let pdu = rows.get(&trees::PDUID_PDU, &place)?;
    Ok(pdu.and_then(|pdu| String::from_utf8(pdu).ok()))
}

/// Whether the user's member event before this one is in a timeline. It is among those that allow this one.
fn replaces_member(pdu: &str, user: &UserId, rows: &mut Rows<'_>) -> Result<bool, ImportError> {
    #[derive(Deserialize)]
    struct Pdu {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        state_key: Option<String>,
        auth_events: Vec<String>,
    }
    let Ok(Pdu { auth_events, .. }) = serde_json::from_str(pdu) else { return Ok(false) };
    for event in auth_events {
        let Some(earlier) = in_timeline(&event, rows)? else { continue };
        let earlier = serde_json::from_str::<Pdu>(&earlier).ok();
        if earlier.is_some_and(|earlier| {
            earlier.kind == "m.room.member" && earlier.state_key.as_deref() == Some(user.as_str())
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}
