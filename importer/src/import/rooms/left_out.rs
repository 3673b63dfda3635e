//! Counting what is left out with a room.

use std::collections::BTreeMap;

use super::{
    ImportedRooms, UNSUPPORTED,
    source::{Item, RoomSource, Sections},
};
use crate::{
    dump::format::DumpRoom,
    findings::{Finding, codes},
    import::{ImportError, skip::SkipReason},
    tally::{Kind, Tally},
};

/// Counts a room as left out, with all that hangs on it and with what is in these sections.
pub(super) fn room(
    source: &dyn RoomSource,
    sections: Sections,
    reason: &SkipReason,
    tally: &mut Tally,
) -> Result<ImportedRooms, ImportError> {
    let left_out = head(source.head(), reason, tally);
    contents(source, sections, reason, tally)?;
    Ok(left_out)
}

/// Counts a room as left out, with all that hangs on it but its states, events and receipts.
pub(super) fn head(head: &DumpRoom, reason: &SkipReason, tally: &mut Tally) -> ImportedRooms {
    let room = head.room_id.as_str();
    attachments(head, reason, tally);
    tally.leave(Kind::Room, room, reason.clone());
    for member in &head.local_members {
        let item = format!("{} in {room}", member.user_id);
        tally.leave(Kind::Membership, item, reason.clone());
    }
    let findings = finding(head, reason).into_iter().collect();
    ImportedRooms { findings, ..ImportedRooms::default() }
}

/// Counts aliases and the place in the directory as left out.
pub(super) fn attachments(head: &DumpRoom, reason: &SkipReason, tally: &mut Tally) {
    let room = head.room_id.as_str();
    for alias in &head.aliases {
        tally.skip(Kind::Alias, alias.alias.as_str(), reason.code, format!("alias of {room}"));
    }
    if head.published {
        tally.leave(Kind::PublishedRoom, room, reason.clone());
    }
}

/// Counts what is in these sections, before anything of it was counted.
fn contents(
    source: &dyn RoomSource,
    sections: Sections,
    reason: &SkipReason,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    source.read(sections, &mut |item| {
        let kind = match item {
            Item::State(_) => Kind::State,
            Item::Outlier(_) => Kind::Outlier,
            Item::Timeline(_) => Kind::TimelineEvent,
            Item::Receipt(_) => Kind::Receipt,
        };
        let count = counts.entry(kind).or_default();
        *count += 1;
        Ok(true)
    })?;
    let room = source.head().room_id.as_str();
    for (kind, number) in counts {
        tally.leave_out(kind, number, room, reason.code, reason.detail.clone());
    }
    Ok(())
}

/// What the operator must know if users of this server are in the room. Versions have a finding of their own.
fn finding(head: &DumpRoom, reason: &SkipReason) -> Option<Finding> {
    let joined = head.local_members.iter().filter(|member| member.membership == "join").count();
    (joined > 0 && reason.code != UNSUPPORTED).then(|| {
        let text = format!("stays behind, with local users in it ({joined}): {}", reason.detail);
        codes::ROOM_LEFT.of(head.room_id.as_str(), text)
    })
}
