//! Public read receipts of other servers' users. Those of local users are with the users.

use ruma::{OwnedEventId, OwnedUserId, ServerName, UserId};
use serde_json::value::RawValue;

use super::batch::RoomTables;
use crate::{
    dump::{RoomWriter, format::DumpRemoteReceipt},
    source::SourceError,
    synapse::database::{
        counter::Items,
        row::{Row, row},
        schema::Schema,
        users::ReceiptData,
    },
    tally::{Kind, Tally},
};

row! {
    /// A row of `receipts_linearized`.
    struct RemoteReceiptRow {
        user_id: OwnedUserId,
        event_id: OwnedEventId,
        thread_id: Option<String>,
        data: Box<RawValue>,
    }
}

/// Writes the receipts of a room.
pub(super) async fn write(
    tables: &mut RoomTables<'_>,
    schema: &Schema,
    server_name: &ServerName,
    file: &mut RoomWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let thread_id = schema.thread_id("receipts_linearized");
    let sql = format!(
        "SELECT user_id, event_id, {thread_id}, data, room_id FROM receipts_linearized \
         WHERE room_id IN ($IDS) AND receipt_type = 'm.read' ORDER BY stream_id, user_id"
    );
    let table = "receipts_linearized";
    let mut items = Items::new(tally, Kind::Receipt, tables.id.as_str()).of(table);
    let mut result = Ok(());
    let each = |row: Row<'_>| {
        let receipt = match row.decode::<RemoteReceiptRow>() {
            Ok(receipt) => receipt,
            // The receipt of a local user was counted with the user.
            Err(_) if is_local(&row.label(), server_name) => return,
            Err(broken) => return items.broken(row, &broken),
        };
        let RemoteReceiptRow { user_id, event_id, thread_id, data } = receipt;
        if user_id.server_name() == server_name || result.is_err() {
            return;
        }
        items.row();
        let Ok(ReceiptData { ts }) = serde_json::from_str(data.get()) else {
            return items.skip(user_id.as_str(), "json-invalid", "column `data` has no `ts`");
        };
        result = file.receipt(&DumpRemoteReceipt { user_id, thread_id, event_id, ts });
        items.written(1);
    };
    tables.each(table, &sql, each).await?;
    Ok(result?)
}

fn is_local(user_id: &str, server_name: &ServerName) -> bool {
    <&UserId>::try_from(user_id).is_ok_and(|user| user.server_name() == server_name)
}
