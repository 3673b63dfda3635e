//! Receipts of other servers' users.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedUserId, RoomId};

use super::numbering::Index;
use crate::{
    dump::format::DumpRemoteReceipt,
    import::{
        Import, ImportError,
        row_writer::Rows,
        users::receipt::{Candidate, Refusal, SUPERSEDED},
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
        index: &Index,
        import: &mut Import<'_>,
    ) {
        import.tally.read(Kind::Receipt, 1);
        let DumpRemoteReceipt { user_id, thread_id, event_id, ts } = receipt;
        let mut skip = |event_id: &EventId, (reason, detail): Refusal| {
            let item = format!("m.read of {user_id} at {event_id}");
            import.tally.skip(Kind::Receipt, item, reason, detail);
        };
        if user_id.server_name() == import.server_name.as_str() {
            let refusal = ("receipt-not-remote", "receipts of local users are with the users");
            return skip(&event_id, refusal);
        }
        let count = index.count(&event_id);
        let mut candidate = match Candidate::new(&event_id, thread_id.as_deref(), ts, count) {
            Ok(candidate) => candidate,
            Err(refusal) => return skip(&event_id, refusal),
        };
        let Some(kept) = self.0.get_mut(&user_id) else {
            self.0.insert(user_id, candidate);
            return;
        };
        if kept.rank() < candidate.rank() {
            std::mem::swap(kept, &mut candidate);
        }
        skip(&candidate.event_id, SUPERSEDED);
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
