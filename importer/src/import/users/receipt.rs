//! A user's read receipts in a room, of which Conduit keeps one of each type: [`Candidate::rank`] chooses it.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId,
    events::receipt::{Receipt, ReceiptEvent, ReceiptEventContent, ReceiptThread, ReceiptType},
};

use crate::{
    conduit::schema::{
        shapes::{AsSent, RoomCountUser},
        trees,
    },
    import::{ImportError, row_writer::Rows, skip::SkipReason},
};

/// A receipt that could become Conduit's.
#[derive(Clone, Debug)]
pub(in crate::import) struct Candidate {
    pub(in crate::import) event_id: OwnedEventId,
    pub(in crate::import) thread: ReceiptThread,
    pub(in crate::import) ts: MilliSecondsSinceUnixEpoch,
    /// The count of the event, if it is in the timeline.
    pub(in crate::import) count: Option<u64>,
}

/// Why a receipt stays behind if the user has one of a higher [`Candidate::rank`] in the room.
pub(in crate::import) const ONE_PER_ROOM: SkipReason = SkipReason::new(
    "one-receipt-per-room",
    "Conduit keeps one receipt of each user in a room, that for the newest event outside threads",
);

impl Candidate {
    /// Takes what Conduit's parser accepts; a receipt that it refuses ends its sending task
    /// (src/service/sending/mod.rs:301-322).
    pub(in crate::import) fn new(
        event_id: &OwnedEventId,
        thread_id: Option<&str>,
        ts: u64,
        count: Option<u64>,
    ) -> Result<Self, SkipReason> {
        let ts = UInt::new(ts).ok_or(SkipReason::new(
            "receipt-time-impossible",
            "its time is larger than Matrix allows in JSON; the next message that is read makes a new receipt",
        ))?;
        let thread = ReceiptThread::try_from(thread_id).map_err(|_| {
            let detail = "its thread id is not an event id";
            SkipReason::new("receipt-thread-unparsable", detail)
        })?;
        let ts = MilliSecondsSinceUnixEpoch(ts);
        Ok(Self { event_id: event_id.clone(), thread, ts, count })
    }

    /// Whether the receipt is for the room, and not for a single thread.
    pub(in crate::import) fn is_of_room(&self) -> bool {
        matches!(self.thread, ReceiptThread::Unthreaded | ReceiptThread::Main)
    }

    /// The receipt of the highest rank is kept: one for the room before one for a thread, then the later event, then the
    /// later time, then the unthreaded one. So a thread's receipt is kept only if the user has none for the room. The ids
    /// make the choice the same each time.
    pub(in crate::import) fn rank(&self) -> impl Ord {
        let is_unthreaded = self.thread == ReceiptThread::Unthreaded;
        let names = (&self.event_id, self.thread.as_str());
        (self.is_of_room(), self.count, self.ts, is_unthreaded, names)
    }

    /// Writes the receipt as the one that everybody sees, in the form that Conduit itself writes
    /// (src/database/key_value/rooms/edus/read_receipt.rs:8-47).
    pub(in crate::import) fn write_public(
        self,
        room: &RoomId,
        user: &UserId,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        let mut receipt = Receipt::new(self.ts);
        receipt.thread = self.thread;
        let users = [(user.to_owned(), receipt)].into();
        let types = [(ReceiptType::Read, users)].into();
        let content = ReceiptEventContent([(self.event_id, types)].into());
        let event = ReceiptEvent { content, room_id: room.to_owned() };
        let json = super::account::json_text(&event);
        let key = RoomCountUser { room: room.as_str(), count: rows.next(), user: user.as_str() };
        rows.put(&trees::READRECEIPTID_READRECEIPT, &key, &AsSent { json: &json })
    }
}
