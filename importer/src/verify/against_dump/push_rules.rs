//! A user's push rules, as ruma reads both sides.

use ruma::push::Ruleset;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Findings, KvRead, VerifyError, codes};
use crate::{dump::format::DumpUser, verify::tools::lookup::account_data};

/// The kinds of rules.
const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// The rules in the database are those of the dump that Conduit can read, in the same order, with the same actions.
pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let Some(rules) = &user.push_rules else { return Ok(()) };
    if user.deactivated || user.guest {
        return Ok(());
    }
    let id = user.user_id.as_str();
    let stored = account_data(store, "", id, "m.push_rules")?;
    let stored = stored
        .as_deref()
        .and_then(|event| Some(serde_json::from_slice::<Event<'_>>(event).ok()?.content.get()));
    // What can be read as a whole mostly stays as it is.
    let rules = rules.get();
    if stored == Some(rules)
        && rules.starts_with('{')
        && serde_json::from_str::<Content>(rules).is_ok()
    {
        return Ok(());
    }
    let Some(dumped) = readable(rules) else {
        // Nothing of it can be used: the server's default rules stand in.
        return Ok(());
    };
    if stored.and_then(readable).as_ref() != Some(&dumped) {
        found.add(&codes::DIFFERS_FROM_DUMP, id, "the push rules differ");
    }
    Ok(())
}

/// A content as ruma reads it.
#[derive(Deserialize)]
struct Content {
    global: Ruleset,
}

/// An account data event.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
}

/// The rules of a content that ruma reads, as ruma writes them; `None` if there are none.
fn readable(content: &str) -> Option<Value> {
    // Mostly all can be read, at once.
    if let Ok(Content { global }) = serde_json::from_str(content) {
        return serde_json::to_value(global).ok();
    }
    parsable_rules(serde_json::from_str::<Value>(content).ok()?.get("global")?)
}

/// The rules that ruma reads one by one, as ruma writes them; `None` if they don't go together.
fn parsable_rules(global: &Value) -> Option<Value> {
    let all = KINDS.map(|kind| global.get(kind).and_then(Value::as_array));
    let list = |good: &dyn Fn(&str, &Value) -> bool| {
        let lists = KINDS.iter().zip(all).map(|(kind, rules)| {
            let rules = rules.into_iter().flatten();
            let good: Vec<_> = rules.filter(|rule| good(kind, rule)).cloned().collect();
            ((*kind).to_owned(), Value::Array(good))
        });
        serde_json::from_value::<Ruleset>(Value::Object(lists.collect())).ok()
    };
    let is_good = |kind: &str, rule: &Value| {
        serde_json::from_value::<Ruleset>(json!({ kind: [rule] })).is_ok()
    };
    // All are good if only something else in it was odd.
    let rules = list(&|_, _| true).or_else(|| list(&is_good))?;
    serde_json::to_value(rules).ok()
}
