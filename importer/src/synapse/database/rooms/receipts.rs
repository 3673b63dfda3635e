//! Public read receipts of other servers' users. Those of local users are with the users.

use ruma::{OwnedEventId, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use crate::{
    dump::{RoomWriter, format::DumpRemoteReceipt},
    source::SourceError,
    synapse::database::{
        connection::Connection, counter::Items, row::row, schema::Schema, users::ReceiptData,
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
    db: &mut Connection,
    schema: &Schema,
    server_name: &ServerName,
    room_id: &RoomId,
    file: &mut RoomWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let thread_id = schema.thread_id("receipts_linearized");
    let sql = format!(
        "SELECT user_id, event_id, {thread_id}, data FROM receipts_linearized \
         WHERE room_id = $1 AND receipt_type = 'm.read' ORDER BY stream_id, user_id"
    );
    let table = "receipts_linearized";
    let mut items = Items::new(tally, Kind::Receipt, room_id.as_str()).of(table);
    let mut result = Ok(());
    db.each(table, &sql, &[room_id.as_str().into()], |row| {
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
    })
    .await?;
    Ok(result?)
}

fn is_local(user_id: &str, server_name: &ServerName) -> bool {
    <&UserId>::try_from(user_id).is_ok_and(|user| user.server_name() == server_name)
}
