//! Public read receipts of other servers' users. Those of local users are with the users.

use ruma::{OwnedEventId, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    dump::{RoomWriter, format::DumpRemoteReceipt},
    source::SourceError,
    synapse::database::{DatabaseSource, counter::Items},
    tally::{Kind, Tally},
};

#[derive(Deserialize)]
struct Data {
    ts: u64,
}

impl DatabaseSource {
    pub(super) async fn write_receipts(
        &mut self,
        room_id: &RoomId,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        type Receipt = (OwnedUserId, OwnedEventId, Option<String>, Box<RawValue>);
        let thread_id = self.schema.thread_id("receipts_linearized");
        let sql = format!(
            "SELECT user_id, event_id, {thread_id}, data FROM receipts_linearized \
             WHERE room_id = $1 AND receipt_type = 'm.read' ORDER BY stream_id, user_id"
        );
        let table = "receipts_linearized";
        let mut items = Items::new(tally, Kind::Receipt, room_id.as_str()).of(table);
        let server_name = &self.config.server_name;
        let mut result = Ok(());
        self.main
            .each(table, &sql, &[room_id.as_str().into()], |row| {
                let (user_id, event_id, thread_id, data) = match row.decode::<Receipt>() {
                    Ok(receipt) => receipt,
                    // That of a local user was met with the user.
                    Err(_) if is_local(&row.label(), server_name) => return,
                    Err(broken) => return items.broken(row, &broken),
                };
                if user_id.server_name() == server_name || result.is_err() {
                    return;
                }
                items.row();
                let Ok(Data { ts }) = serde_json::from_str(data.get()) else {
                    return items.skip(
                        user_id.as_str(),
                        "json-invalid",
                        "column `data` has no `ts`",
                    );
                };
                result = file.receipt(&DumpRemoteReceipt { user_id, thread_id, event_id, ts });
                items.written(1);
            })
            .await?;
        Ok(result?)
    }
}

fn is_local(user_id: &str, server_name: &ServerName) -> bool {
    <&UserId>::try_from(user_id).is_ok_and(|user| user.server_name() == server_name)
}
