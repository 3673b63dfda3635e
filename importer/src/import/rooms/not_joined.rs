//! Rooms that the server is not in: pending and refused invites and knocks.

use ruma::UserId;

use super::{Item, RoomSource, Sections, membership::Members};
use crate::{
    dump::format::{DumpEvent, DumpMember},
    import::{Import, ImportError, events::event},
    tally::Kind,
};

impl Import<'_> {
    /// Writes who is invited and what came with the invite. Conduit knows such a room by these rows alone
    /// (src/api/server_server.rs:2164-2230); it has no short room id.
    pub(super) fn outside(&mut self, source: &dyn RoomSource) -> Result<(), ImportError> {
        let head = source.head();
        if !head.local_members.iter().any(remains) {
            self.left_out(head, "state-missing", "nobody is in it and its state is not known");
            return Ok(());
        }
        let detail = "the server is not in the room";
        self.attachments_left_out(head, "state-missing", detail);
        let server_name = self.server_name.clone();
        let mut members = Members::new(head, &server_name);
        source.read(Sections::Events, &mut |item| {
            let event = match item {
                Item::Outlier(event) => event,
                Item::Receipt(receipt) => {
                    self.tally.read(Kind::Receipt, 1);
                    let item = format!("m.read of {} in {}", receipt.user_id, head.room_id);
                    self.tally.skip(Kind::Receipt, item, "room-left-out", detail);
                    return Ok(true);
                }
                Item::State(_) | Item::Timeline(_) => return Ok(true),
            };
            remember_invite(&event, &mut members);
            self.tally.read(Kind::Outlier, 1);
            // Nothing in Conduit reads it, and its `/event` would show it to everybody who knows its id.
            let detail = "it goes into what the user is shown of the invite, as Conduit keeps it";
            self.tally.skip(Kind::Outlier, event.event_id.as_str(), "in-the-membership", detail);
            Ok(true)
        })?;
        members.finish(&mut self.rows, &mut self.tally)?;
        self.tally.written(Kind::Room, 1);
        Ok(())
    }
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
