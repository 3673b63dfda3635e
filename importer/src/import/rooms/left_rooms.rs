//! What Continuwuity shows of rooms that a user has left: the event by which it was left, instead of Conduit's empty list.
//!
//! It shows such a room only if the event is in the timeline, and so is the member event that it replaced
//! (src/service/rooms/state_cache/mod.rs:423, src/api/client/sync/v3/left.rs:129-216 there). It then shows all that happened between
//! the two, so the row is written only for a user who was joined until then; for others Conduit's stays, and the room is not shown.

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

/// Replaces the rows of rooms that Continuwuity may show. The timelines must be readable ([`Rows::settle`]).
pub(in crate::import) fn write(rooms: &[LeftRoom], rows: &mut Rows<'_>) -> Result<(), ImportError> {
    if rows.dialect() != Dialect::Continuwuity {
        return Ok(());
    }
    for LeftRoom { user, room, event } in rooms {
        let Some(pdu) = in_timeline(event.as_str(), rows)? else { continue };
        if ends_join(&pdu, user, rows)? {
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

/// Whether this event ended a join whose event is in a timeline: Continuwuity gives everything from the member event before it on,
/// and asks for nobody's right to see it. The content of that event stands in `unsigned`, and its id among those that allow this
/// one.
fn ends_join(pdu: &str, user: &UserId, rows: &mut Rows<'_>) -> Result<bool, ImportError> {
    #[derive(Deserialize)]
    struct Left {
        auth_events: Vec<String>,
        unsigned: Unsigned,
    }
    #[derive(Deserialize)]
    struct Unsigned {
        prev_content: Membership,
    }
    #[derive(Deserialize)]
    struct Membership {
        membership: String,
    }
    #[derive(Deserialize)]
    struct Joined {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        state_key: Option<String>,
        content: Membership,
    }
    let Ok(left) = serde_json::from_str::<Left>(pdu) else { return Ok(false) };
    if left.unsigned.prev_content.membership != "join" {
        return Ok(false);
    }
    for event in left.auth_events {
        let Some(earlier) = in_timeline(&event, rows)? else { continue };
        let earlier = serde_json::from_str::<Joined>(&earlier).ok();
        if earlier.is_some_and(|earlier| {
            earlier.kind == "m.room.member"
                && earlier.state_key.as_deref() == Some(user.as_str())
                && earlier.content.membership == "join"
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}
