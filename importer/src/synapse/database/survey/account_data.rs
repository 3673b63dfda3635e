//! Account data that a homeserver interprets and that has another form than the specification's.

use ruma::events::{
    direct::DirectEventContent, ignored_user_list::IgnoredUserListEventContent, tag::TagInfo,
};
use serde::de::DeserializeOwned;

use crate::{
    source::survey::OddAccountData,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        row::{Row, row},
    },
};

row! {
    /// A row of `account_data` or `room_tags`.
    struct ContentRow {
        user: String,
        /// The room id, or empty.
        room: String,
        kind: String,
        content: String,
    }
}

/// Contents that are kept at most.
const KEPT: usize = 1000;

/// Account data of an unusual form, by user.
pub(super) async fn read(db: &mut Connection) -> Result<Vec<OddAccountData>, DatabaseError> {
    let mut found = Vec::new();
    let mut look = |row: Row<'_>, is_odd: bool| {
        let Ok(ContentRow { user, room, kind, content }) = row.decode() else { return };
        if is_odd && found.len() < KEPT {
            found.push(OddAccountData { user, room, kind, content });
        }
    };
    let sql = "SELECT user_id, '', account_data_type, content FROM account_data \
               WHERE account_data_type IN ('m.direct', 'm.ignored_user_list')";
    db.each("account_data", sql, &[], |row| {
        let kind_and_content = (row.text(2), row.text(3));
        let is_odd = match kind_and_content.0.as_str() {
            "m.direct" => is_no::<DirectEventContent>(&kind_and_content.1),
            _ => is_no::<IgnoredUserListEventContent>(&kind_and_content.1),
        };
        look(row, is_odd);
    })
    .await?;
    let sql = "SELECT user_id, room_id, tag, content FROM room_tags";
    db.each("room_tags", sql, &[], |row| look(row, is_no::<TagInfo>(&row.text(3)))).await?;
    for odd in &mut found {
        if !odd.room.is_empty() {
            let name = serde_json::Value::from(odd.kind.as_str());
            odd.content = format!("{{\"tags\":{{{name}:{}}}}}", odd.content);
            odd.kind = "m.tag".into();
        }
    }
    found.sort();
    Ok(found)
}

fn is_no<T: DeserializeOwned>(json: &str) -> bool {
    serde_json::from_str::<T>(json).is_err()
}
