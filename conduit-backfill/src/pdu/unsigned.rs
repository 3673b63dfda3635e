//! What a homeserver adds to an event beside what was signed: `unsigned`.

#[cfg(test)]
mod tests;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, Int, ServerName, UserId};

/// `unsigned` of an event that was redacted; `redaction` is the event that did it, if it is known.
pub fn redacted(
    event: &EventId,
    redaction_id: &EventId,
    redaction: Option<CanonicalJsonObject>,
) -> CanonicalJsonObject {
    let because = redaction.unwrap_or_else(|| {
        CanonicalJsonObject::from([
            ("content".into(), CanonicalJsonValue::Object(CanonicalJsonObject::new())),
            ("event_id".into(), text(redaction_id.as_str())),
            ("redacts".into(), text(event.as_str())),
            ("type".into(), text("m.room.redaction")),
        ])
    });
    CanonicalJsonObject::from([("redacted_because".into(), because.into_value())])
}

/// `unsigned` of a state event that replaces another one; the sender of that is told for events of our own server.
pub fn replacing(
    event: &CanonicalJsonObject,
    replaced: &CanonicalJsonObject,
    server_name: &ServerName,
) -> CanonicalJsonObject {
    let mut unsigned = CanonicalJsonObject::new();
    let Some(content) = replaced.get("content") else { return unsigned };
    unsigned.insert("prev_content".into(), content.clone());
    let sender = event.get("sender").and_then(CanonicalJsonValue::as_str);
    let is_ours = sender
        .and_then(|sender| <&UserId>::try_from(sender).ok())
        .is_some_and(|sender| sender.server_name() == server_name);
    if let Some(sender) = replaced.get("sender").filter(|_| is_ours) {
        unsigned.insert("prev_sender".into(), sender.clone());
    }
    unsigned
}

/// The summary of a thread (`m.relations`) in `unsigned` of its root.
pub fn thread(replies: u64, latest: &CanonicalJsonObject) -> CanonicalJsonValue {
    let fields = ["content", "type", "event_id", "sender", "origin_server_ts"];
    let latest = fields
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), latest.get(name)?.clone())))
        .collect::<CanonicalJsonObject>();
    let summary = CanonicalJsonObject::from([
        ("count".into(), Int::try_from(replies).unwrap_or(Int::MAX).into()),
        ("current_user_participated".into(), true.into()),
        ("latest_event".into(), latest.into_value()),
    ]);
    CanonicalJsonObject::from([("m.thread".into(), summary.into_value())]).into_value()
}

/// An event with this `unsigned` and its id, as a homeserver stores it. State events always have an `unsigned`.
pub fn stored(
    mut event: CanonicalJsonObject,
    id: &EventId,
    unsigned: CanonicalJsonObject,
) -> CanonicalJsonObject {
    event.insert("event_id".into(), text(id.as_str()));
    if !unsigned.is_empty() || event.contains_key("state_key") {
        event.insert("unsigned".into(), unsigned.into_value());
    }
    event
}

trait IntoValue {
    fn into_value(self) -> CanonicalJsonValue;
}

impl IntoValue for CanonicalJsonObject {
    fn into_value(self) -> CanonicalJsonValue {
        CanonicalJsonValue::Object(self)
    }
}

fn text(text: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.into())
}
