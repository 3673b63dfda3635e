//! Receipts of other servers' users.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedUserId, RoomId};

use super::numbering::Numbering;
use crate::{
    dump::format::DumpRemoteReceipt,
    import::{
        ImportError,
        row_writer::Rows,
        skip::SkipReason,
        users::receipt::{Candidate, ONE_PER_ROOM},
    },
    tally::{Kind, Tally},
};

/// The receipt to keep of each user.
#[derive(Debug, Default)]
pub(super) struct RemoteReceipts(BTreeMap<OwnedUserId, Candidate>);

impl RemoteReceipts {
    pub(super) fn add(
        &mut self,
        receipt: DumpRemoteReceipt,
        numbering: &Numbering,
        server_name: &str,
        tally: &mut Tally,
    ) {
        tally.read(Kind::Receipt, 1);
        let DumpRemoteReceipt { user_id, thread_id, event_id, ts } = receipt;
        let mut leave = |event_id: &EventId, reason: SkipReason| {
            let item = format!("m.read of {user_id} at {event_id}");
            tally.leave(Kind::Receipt, item, reason);
        };
        if user_id.server_name() == server_name {
            let detail = "receipts of local users are with the users";
            return leave(&event_id, SkipReason::new("receipt-not-remote", detail));
        }
        let count = numbering.count(&event_id);
        let mut candidate = match Candidate::new(&event_id, thread_id.as_deref(), ts, count) {
            Ok(candidate) => candidate,
            Err(reason) => return leave(&event_id, reason),
        };
        let Some(kept) = self.0.get_mut(&user_id) else {
            self.0.insert(user_id, candidate);
            return;
        };
        if kept.rank() < candidate.rank() {
            std::mem::swap(kept, &mut candidate);
        }
        leave(&candidate.event_id, ONE_PER_ROOM);
    }

    pub(super) fn write(
        self,
        room: &RoomId,
        rows: &mut Rows<'_>,
        tally: &mut Tally,
    ) -> Result<(), ImportError> {
        for (user, receipt) in self.0 {
            receipt.write_public(room, &user, rows)?;
            tally.written(Kind::Receipt, 1);
        }
        Ok(())
    }
}
