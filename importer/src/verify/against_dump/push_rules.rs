//! A user's push rules, as ruma reads both sides.

use ruma::push::Ruleset;
use serde_json::{Value, json};

use super::{Found, KvStore, VerifyError, codes};
use crate::{dump::format::DumpUser, verify::structure::users::account_data};

/// The kinds of rules.
const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// The rules in the database are those of the dump that Conduit can read, in the same order, with the same actions.
pub(super) fn compare(
    store: &dyn KvStore,
    user: &DumpUser,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let Some(rules) = &user.push_rules else { return Ok(()) };
    if user.deactivated || user.guest {
        return Ok(());
    }
    let id = user.user_id.as_str();
    let Some(dumped) = serde_json::from_str::<Value>(rules.get())
        .ok()
        .and_then(|rules| readable(rules.get("global")?))
    else {
        // Nothing of it can be used: the server's default rules stand in.
        return Ok(());
    };
    let stored = account_data(store, "", id, "m.push_rules")?
        .and_then(|event| serde_json::from_slice::<Value>(&event).ok())
        .and_then(|event| readable(event.get("content")?.get("global")?));
    if stored.as_ref() != Some(&dumped) {
        found.add(&codes::DIFFERS_FROM_DUMP, id, "the push rules differ");
    }
    Ok(())
}

/// The rules that ruma reads one by one, as ruma writes them; `None` if they don't go together.
fn readable(global: &Value) -> Option<Value> {
    let mut rules = json!({});
    for kind in KINDS {
        let list = global.get(kind).and_then(Value::as_array).into_iter().flatten();
        let good: Vec<_> = list
            .filter(|rule| serde_json::from_value::<Ruleset>(json!({ kind: [rule] })).is_ok())
            .cloned()
            .collect();
        rules.as_object_mut()?.insert(kind.to_owned(), Value::Array(good));
    }
    let rules = serde_json::from_value::<Ruleset>(rules).ok()?;
    serde_json::to_value(rules).ok()
}
