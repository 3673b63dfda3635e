//! What a client knows of a room, from the cache that its timelines are made of.

use std::collections::BTreeMap;

use matrix_sdk::{Room, deserialized_responses::TimelineEvent};
use serde_json::{Value, json};

/// All events, oldest first.
pub async fn of(room: &Room) -> anyhow::Result<Value> {
    let (cache, _handles) = room.event_cache().await?;
    let ids: Vec<_> = cache.events().await?.iter().filter_map(TimelineEvent::event_id).collect();
    Ok(json!({"main": ids, "threads": {}, "applied": [], "endless": []}))
}

/// What encrypted messages say, or that they can't be read.
pub async fn texts(room: &Room) -> anyhow::Result<Value> {
    let (cache, _handles) = room.event_cache().await?;
    let mut found = BTreeMap::new();
    for event in cache.events().await? {
        let is_encrypted = event.kind.is_utd() || event.encryption_info().is_some();
        if let Some(id) = event.event_id().filter(|_| is_encrypted) {
            found.insert(id.to_string(), body(&event));
        }
    }
    Ok(serde_json::to_value(found)?)
}

/// What one event says; `null` if it can't be read.
pub async fn text(room: &Room, event: &str) -> anyhow::Result<Option<Value>> {
    let (cache, _handles) = room.event_cache().await?;
    let events = cache.events().await?;
    Ok(events.iter().find(|one| one.event_id().is_some_and(|id| id == event)).map(body))
}

fn body(event: &TimelineEvent) -> Value {
    let content: Option<Value> = event.raw().get_field("content").ok().flatten();
    content.map_or(Value::Null, |content| content["body"].clone())
}
