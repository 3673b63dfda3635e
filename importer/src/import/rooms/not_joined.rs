//! Rooms that the server is not in: pending and refused invites and knocks.

use ruma::UserId;

use super::{
    ImportedRooms, left_out,
    membership::Members,
    source::{Item, RoomSource, Sections},
};
use crate::{
    dump::format::{DumpEvent, DumpMember},
    import::{ImportError, events::event, row_writer::Rows, skip::SkipReason},
    tally::{Kind, Tally},
};

/// Writes who is invited and what came with the invite. Conduit knows such a room by these rows alone
/// (src/api/server_server.rs:2164-2230); it has no short room id.
pub(super) fn import(
    source: &dyn RoomSource,
    server_name: &str,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<ImportedRooms, ImportError> {
    let head = source.head();
    if !head.local_members.iter().any(remains) {
        let detail = "nobody is in it and its state is not known";
        return Ok(left_out::head(head, &SkipReason::new("state-missing", detail), tally));
    }
    let detail = "the server is not in the room";
    left_out::attachments(head, &SkipReason::new("state-missing", detail), tally);
    let mut members = Members::new(head, server_name);
    source.read(Sections::Events, &mut |item| {
        match item {
            Item::Outlier(event) => {
                remember_invite(&event, &mut members);
                tally.read(Kind::Outlier, 1);
                // Nothing in Conduit reads it, and its `/event` would show it to everybody who knows its id.
                let detail = "it moves as a part of the invite's state, where Conduit stores it";
                let id = event.event_id.as_str();
                tally.skip(Kind::Outlier, id, "in-the-membership", detail);
            }
            Item::Receipt(receipt) => {
                tally.read(Kind::Receipt, 1);
                let item = format!("m.read of {} in {}", receipt.user_id, head.room_id);
                tally.skip(Kind::Receipt, item, "room-left-out", detail);
            }
            Item::State(_) | Item::Timeline(_) => {}
        }
        Ok(true)
    })?;
    members.finish(rows, tally)?;
    tally.written(Kind::Room, 1);
    Ok(ImportedRooms::default())
}

fn remains(member: &DumpMember) -> bool {
    let is_gone = ["leave", "ban"].contains(&member.membership.as_str());
    !(is_gone && member.forgotten) && member.membership != "join"
}

/// The room's version may be unknown, so the event is taken as it is.
fn remember_invite(event: &DumpEvent, members: &mut Members<'_>) {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(event.pdu.get()) else { return };
    let user = json.get("state_key").and_then(serde_json::Value::as_str);
    if let Some(user) = user.and_then(|user| <&UserId>::try_from(user).ok()) {
        members.invite(&event.event_id, user, || event::stripped(&json));
    }
}
