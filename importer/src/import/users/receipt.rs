//! A user's read receipts in a room, of which Conduit keeps one of each type.

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

/// Why a receipt that is not the newest stays behind.
pub(in crate::import) const SUPERSEDED: SkipReason = SkipReason::new(
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

    /// Whether it says what has been read of the room and not only of one thread.
    pub(in crate::import) fn is_of_room(&self) -> bool {
        matches!(self.thread, ReceiptThread::Unthreaded | ReceiptThread::Main)
    }

    /// What makes a receipt the one to keep: that it is for the room; the place of its event; when it was read; that it
    /// is for all threads as well. The rest makes the choice the same each time.
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
