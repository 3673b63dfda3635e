//! Messages that wait for devices.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::{batch::UserTables, list::ListedUsers};
use crate::{
    dump::{
        DumpWriter,
        format::{DumpMessage, DumpUser},
    },
    source::SourceError,
    synapse::database::{connection::Connection, counter::Items},
    tally::{Kind, Tally},
};

/// Writes the messages for a user's devices, those of a device oldest first. One is in memory at a time.
pub(in crate::synapse::database) async fn write(
    db: &mut Connection,
    users: &mut ListedUsers,
    user: &DumpUser,
    writer: &DumpWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let id = user.user_id.as_str();
    let devices: BTreeSet<_> = user.devices.iter().map(|device| &device.device_id).collect();
    let any = "SELECT DISTINCT user_id FROM device_inbox WHERE user_id IN ($IDS)";
    let mut tables = UserTables::new(db, &mut users.batch, &user.user_id);
    if tables.rows("device_inbox", any).await?.is_empty() {
        return Ok(());
    }
    let mut items = Items::new(tally, Kind::ToDeviceMessage, id).of("device_inbox");
    let mut file = writer.messages(&user.user_id);
    let mut written = Ok(());
    let sql = "SELECT device_id, message_json FROM device_inbox WHERE user_id = $1 \
               ORDER BY device_id, stream_id";
    db.each("device_inbox", sql, &[id.into()], |row| {
        let Some((device_id, message)) = items.one::<(String, Box<RawValue>)>(row) else {
            return;
        };
        if !devices.contains(&device_id) {
            items.skip(&device_id, "device-missing", "its device does not exist, or was left out");
        } else if written.is_ok() {
            written = file.message(&DumpMessage { device_id, message });
            items.written(1);
        }
    })
    .await?;
    written?;
    Ok(writer.finish_messages(file)?)
}
