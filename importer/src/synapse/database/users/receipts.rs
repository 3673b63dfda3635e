//! Read receipts.

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::UserTables;
use crate::{
    dump::format::DumpReceipt,
    synapse::database::{DatabaseError, counter::Items, row::row, schema::Schema},
    tally::{Kind, Tally},
};

/// What Synapse 1.62 to 1.66 call a private receipt, if `msc2285_enabled` is on.
pub(super) const UNSTABLE: &str = "org.matrix.msc2285.read.private";

/// The column `data` of `receipts_linearized`.
#[derive(Deserialize)]
pub(in crate::synapse::database) struct ReceiptData {
    /// When the receipt was sent, in milliseconds since the epoch.
    pub(in crate::synapse::database) ts: u64,
}

row! {
    /// A row of `receipts_linearized`.
    struct ReceiptRow {
        event_id: OwnedEventId,
        room_id: OwnedRoomId,
        receipt_type: String,
        thread_id: Option<String>,
        data: Box<RawValue>,
    }
}

pub(super) async fn read(
    tables: &mut UserTables<'_>,
    schema: &Schema,
    tally: &mut Tally,
) -> Result<Vec<DumpReceipt>, DatabaseError> {
    let thread_id = schema.thread_id("receipts_linearized");
    let sql = format!(
        "SELECT event_id, room_id, receipt_type, {thread_id}, data, user_id FROM receipts_linearized \
         WHERE user_id IN ($IDS) ORDER BY stream_id"
    );
    let rows = tables.rows("receipts_linearized", &sql).await?;
    let mut items = Items::new(tally, Kind::Receipt, tables.id.as_str()).of("receipts_linearized");
    let mut receipts = std::collections::BTreeMap::new();
    for ReceiptRow { event_id, room_id, receipt_type, thread_id, data } in items.decode(&rows) {
        let receipt_type =
            if receipt_type == UNSTABLE { "m.read.private".into() } else { receipt_type };
        if !matches!(receipt_type.as_str(), "m.read" | "m.read.private") {
            items.skip(
                event_id.as_str(),
                "receipt-type-unknown",
                format!("no receipt of type `{receipt_type}` is known"),
            );
            continue;
        }
        let Ok(ReceiptData { ts }) = serde_json::from_str(data.get()) else {
            items.skip(event_id.as_str(), "json-invalid", "column `data` has no `ts`");
            continue;
        };
        let key = (room_id.clone(), thread_id.clone(), receipt_type.clone());
        let receipt = DumpReceipt { room_id, thread_id, receipt_type, event_id, ts };
        // Only a database whose indexes are broken has two for one key; the newer one counts.
        if let Some(older) = receipts.insert(key, receipt) {
            items.skip(
                older.event_id.as_str(),
                "receipt-superseded",
                "a newer receipt of the same room, thread and type exists",
            );
        }
    }
    items.written(receipts.len());
    Ok(receipts.into_values().collect())
}
