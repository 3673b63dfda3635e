//! Rooms whose history visibility Conduit does not understand.

use crate::synapse::database::{DatabaseError, connection::Connection};

/// Rooms whose present history visibility is none of the specification's, or missing.
pub(super) async fn read(db: &mut Connection) -> Result<Vec<(String, String)>, DatabaseError> {
    const WORDS: [&str; 4] = ["world_readable", "shared", "invited", "joined"];
    let sql = "SELECT c.room_id, ej.json FROM current_state_events c \
               JOIN event_json ej ON ej.event_id = c.event_id \
               WHERE c.type = 'm.room.history_visibility' AND c.state_key = ''";
    let mut found = Vec::new();
    db.each("current_state_events", sql, &[], |row| {
        let Ok((room, json)) = row.decode::<(String, String)>() else { return };
        let event = serde_json::from_str::<serde_json::Value>(&json).unwrap_or_default();
        let word = event.pointer("/content/history_visibility");
        if !word.and_then(serde_json::Value::as_str).is_some_and(|w| WORDS.contains(&w)) {
            found.push((room, word.map_or_else(String::new, ToString::to_string)));
        }
    })
    .await?;
    found.sort();
    Ok(found)
}
