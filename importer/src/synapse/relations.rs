//! What an event answers, edits or reacts to, as clients have written it into its content.

use ruma::{EventId, OwnedEventId};
use serde_json::Value;

/// The name of the field without which an event relates to none.
pub(super) const FIELD: &str = "m.relates_to";

/// The events that an event relates to: the root of its thread, what it answers, edits or reacts to.
pub(super) fn targets(event: &str) -> Vec<OwnedEventId> {
    let Ok(event) = serde_json::from_str::<Value>(event) else { return Vec::new() };
    let Some(relates_to) = event.get("content").and_then(|content| content.get(FIELD)) else {
        return Vec::new();
    };
    [Some(relates_to), relates_to.get("m.in_reply_to")]
        .into_iter()
        .flatten()
        .filter_map(|relation| EventId::parse(relation.get("event_id")?.as_str()?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_relation_has_its_targets() {
        let root = json!({"rel_type": "m.thread", "event_id": "$root"});
        let mut both = root.clone();
        both["m.in_reply_to"] = json!({"event_id": "$said"});
        let reaction = json!({"rel_type": "m.annotation", "event_id": "$said", "key": "x"});
        for (relates_to, expected) in [
            (root, vec!["$root"]),
            (both, vec!["$root", "$said"]),
            (reaction, vec!["$said"]),
            (json!({"m.in_reply_to": {"event_id": "$said"}}), vec!["$said"]),
            (json!({"event_id": 1, "m.in_reply_to": "x"}), vec![]),
            (json!({"event_id": "no id"}), vec![]),
            (json!("$root"), vec![]),
        ] {
            let event = json!({"content": {"m.relates_to": relates_to}});
            assert_eq!(targets(&event.to_string()), expected, "{event}");
        }
        for other in ["{}", r#"{"content": []}"#, "[", "null"] {
            assert_eq!(targets(other), [""; 0], "{other}");
        }
    }
}
