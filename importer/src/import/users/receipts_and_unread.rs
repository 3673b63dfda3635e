//! How far a user has read, and what is unread. Rooms come before: places of events are looked up.
//!
//! Conduit answers a private receipt with nothing but the numbers of what is unread: no client is told of it. It keeps
//! the place of the event (src/service/rooms/edus/read_receipt, src/api/client_server/read_marker.rs:46-71).

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedRoomId, RoomId};

use super::receipt::{Candidate, ONE_PER_ROOM};
use crate::{
    conduit::schema::{
        pdu_id::PduCount,
        shapes::{Count, Number, RoomUser, SigilRoomUser, SigilUserRoom, Unread, UserRoom},
        trees,
    },
    dump::{
        DumpReader,
        format::{DumpReceipt, DumpUnread, DumpUser},
    },
    import::{ImportError, row_writer::Rows, skip::SkipReason},
    progress::Progress,
    tally::{Kind, Tally},
};

/// The largest number that Conduit can put into an answer (src/api/client_server/sync.rs:1099-1123).
const MOST: u64 = (1 << 53) - 1;

const ROOM_LEFT_OUT: SkipReason = SkipReason::new("room-left-out", "its room was not imported");

/// Writes all users' receipts and unread counts. `rooms` are those that were imported.
pub(in crate::import) fn import(
    dump: &DumpReader,
    rooms: &BTreeSet<OwnedRoomId>,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<(), ImportError> {
    let phase = progress
        .phase_of(["account's read markers", "accounts' read markers"], dump.number_of_users());
    dump.each_user(|user| {
        if !super::is_conduits_own(&user) {
            Writer { user: &user, imported: rooms, rows, tally }.write()?;
        }
        phase.advance(1);
        Ok(())
    })
}

/// Writes the receipts and unread counts of one user.
struct Writer<'a, 's> {
    user: &'a DumpUser,
    /// The rooms that were imported.
    imported: &'a BTreeSet<OwnedRoomId>,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
}

impl Writer<'_, '_> {
    fn write(&mut self) -> Result<(), ImportError> {
        let user = self.user;
        let mut rooms: BTreeMap<&OwnedRoomId, (Vec<&DumpReceipt>, Option<&DumpUnread>)> =
            BTreeMap::new();
        for receipt in &user.receipts {
            rooms.entry(&receipt.room_id).or_default().0.push(receipt);
        }
        for unread in &user.unread {
            self.tally.read(Kind::UnreadCount, 1);
            if rooms.entry(&unread.room_id).or_default().1.replace(unread).is_some() {
                let item = format!("{} in {}", user.user_id, unread.room_id);
                self.tally.skip(Kind::UnreadCount, item, "duplicate", "the dump has it twice");
            }
        }
        for (room, (receipts, unread)) in rooms {
            let has_read = self.receipts(room, &receipts)?;
            self.unread(room, has_read, unread)?;
        }
        Ok(())
    }

    /// Writes the receipts of one room; whether there was one.
    fn receipts(
        &mut self,
        room: &OwnedRoomId,
        receipts: &[&DumpReceipt],
    ) -> Result<bool, ImportError> {
        let user = self.user;
        let (mut public, mut private) = (None, None);
        let short_room = self.rows.stored(&trees::ROOMID_SHORTROOMID, room.as_bytes())?;
        let short_room = short_room.and_then(|short| short.try_into().ok()).map(u64::from_be_bytes);
        for receipt in receipts {
            self.tally.read(Kind::Receipt, 1);
            let left = match self.candidate(room, short_room, receipt)? {
                Ok(candidate) if receipt.receipt_type == "m.read" => {
                    keep(&mut public, (candidate, *receipt))
                }
                Ok(candidate) => keep(&mut private, (candidate, *receipt)),
                Err(reason) => Some((*receipt, reason)),
            };
            if let Some((receipt, reason)) = left {
                self.tally.leave(Kind::Receipt, item(user, receipt), reason);
            }
        }
        let has_read = public.is_some() || private.is_some();
        if let Some((candidate, _)) = public {
            candidate.write_public(room, &user.user_id, self.rows)?;
            self.tally.written(Kind::Receipt, 1);
        }
        if let Some((candidate, _)) = private {
            let key = RoomUser { room: room.as_str(), user: user.user_id.as_str() };
            let place = Count { count: candidate.count.unwrap_or_default() };
            let now = Count { count: self.rows.next() };
            self.rows.put(&trees::ROOMUSERID_PRIVATEREAD, &key, &place)?;
            self.rows.put(&trees::ROOMUSERID_LASTPRIVATEREADUPDATE, &key, &now)?;
            self.tally.written(Kind::Receipt, 1);
        }
        Ok(has_read)
    }

    /// The receipt as Conduit could keep it, or why it can't.
    fn candidate(
        &self,
        room: &OwnedRoomId,
        short_room: Option<u64>,
        receipt: &DumpReceipt,
    ) -> Result<Result<Candidate, SkipReason>, ImportError> {
        if !self.imported.contains(room) {
            return Ok(Err(ROOM_LEFT_OUT));
        }
        let is_private = match receipt.receipt_type.as_str() {
            "m.read" => false,
            "m.read.private" => true,
            _ => {
                let detail = "Conduit knows no such receipts";
                return Ok(Err(SkipReason::new("receipt-type-unknown", detail)));
            }
        };
        let count = self.count(short_room, &receipt.event_id)?;
        let thread = receipt.thread_id.as_deref();
        let candidate = match Candidate::new(&receipt.event_id, thread, receipt.ts, count) {
            Ok(candidate) => candidate,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(if is_private && !candidate.is_of_room() {
            let detail = "Conduit would treat a private receipt of a thread as one of the room";
            Err(SkipReason::new("private-thread-receipt", detail))
        } else if is_private && count.is_none() {
            let detail = "Conduit stores the position of its event, which is not in the timeline; \
                          unread counts are right without it";
            Err(SkipReason::new("receipt-event-missing", detail))
        } else {
            Ok(candidate)
        })
    }

    /// The count of an event in the timeline of this room; a damaged table may name any event.
    fn count(&self, short_room: Option<u64>, event: &EventId) -> Result<Option<u64>, ImportError> {
        let stored = self.rows.stored(&trees::EVENTID_PDUID, event.as_bytes())?;
        let place = stored.as_deref().and_then(PduCount::read);
        let place = place.filter(|(room, _)| Some(*room) == short_room);
        Ok(place.and_then(|(_, count)| count.normal()))
    }

    /// Writes what Conduit has after somebody has read and others have written more
    /// (src/database/key_value/rooms/user.rs:8-22, src/database/key_value/rooms/timeline.rs:282-304).
    fn unread(
        &mut self,
        room: &RoomId,
        has_read: bool,
        unread: Option<&DumpUnread>,
    ) -> Result<(), ImportError> {
        let user = self.user;
        let (user_id, room_id) = (user.user_id.as_str(), room.as_str());
        let user_room = UserRoom { user: user_id, room: room_id };
        let joined = trees::USERROOMID_JOINED.key_of(&user_room);
        let is_joined = self.rows.stored(&trees::USERROOMID_JOINED, &joined)?.is_some();
        let reason = if !self.imported.contains(room) {
            Some(ROOM_LEFT_OUT)
        } else if !is_joined {
            Some(SkipReason::new("not-joined", "the user is not in the room"))
        } else if unread.is_some_and(|unread| unread.notifications.max(unread.highlights) > MOST) {
            let detail = "Conduit can't answer with such a number";
            Some(SkipReason::new("count-impossible", detail))
        } else {
            None
        };
        if let Some(reason) = reason {
            if unread.is_some() {
                let item = format!("{} in {room}", user.user_id);
                self.tally.leave(Kind::UnreadCount, item, reason);
            }
            return Ok(());
        }
        if !has_read && unread.is_none() {
            return Ok(());
        }
        let (notifications, highlights) =
            unread.map_or((0, 0), |unread| (unread.notifications, unread.highlights));
        let now = self.rows.next();
        let counts = &trees::USERROOMID_NOTIFICATIONCOUNT;
        self.rows.put(counts, &user_room, &Number { number: notifications })?;
        // Conduit opens `roomuserid_lastnotificationread` under this name (src/database/mod.rs:365-366).
        let tree = &trees::USERROOMID_HIGHLIGHTCOUNT;
        let user_room = Unread::UserRoom(SigilUserRoom { user: user_id, room: room_id });
        self.rows.put(tree, &user_room, &Number { number: highlights })?;
        let room_user = Unread::RoomUser(SigilRoomUser { room: room_id, user: user_id });
        self.rows.put(tree, &room_user, &Number { number: now })?;
        self.tally.written(Kind::UnreadCount, u64::from(unread.is_some()));
        Ok(())
    }
}

/// Keeps the better of two; gives the other, and why it is not kept.
fn keep<'a>(
    kept: &mut Option<(Candidate, &'a DumpReceipt)>,
    new: (Candidate, &'a DumpReceipt),
) -> Option<(&'a DumpReceipt, SkipReason)> {
    let other = match kept {
        Some((best, _)) if best.rank() >= new.0.rank() => Some(new),
        _ => kept.replace(new),
    };
    other.map(|(_, receipt)| (receipt, ONE_PER_ROOM))
}

/// What a receipt is called in reports.
fn item(user: &DumpUser, receipt: &DumpReceipt) -> String {
    let DumpReceipt { receipt_type, room_id, thread_id, .. } = receipt;
    let thread = thread_id.as_ref().map(|thread| format!(", thread {thread}")).unwrap_or_default();
    format!("{receipt_type} of {} in {room_id}{thread}", user.user_id)
}
