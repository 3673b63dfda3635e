//! A user's pushers and filters.

use std::collections::BTreeMap;

use ruma::api::client::{filter::FilterDefinition, push::Pusher};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{
    Findings, KvRead, Skipped, VerifyError, codes,
    json::{self, Json},
};
use crate::{
    conduit::schema::{
        shapes::{UserFilter, UserPushkey},
        trees,
    },
    dump::format::{DumpPusher, DumpUser},
    tally::Kind,
    verify::tools::lookup::get,
};

/// Pushers that Conduit would use; `rights`: whether the account may act.
pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    rights: bool,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let item = |pusher: &DumpPusher| format!("{} of {id}", pusher.app_id);
    // Two pushers of an application have the same name in the list of what was left out, so it is of no use here.
    let usable = |pusher: &&DumpPusher| {
        rights
            && pusher.kind == "http"
            && pusher.enabled
            && serde_json::from_str::<Pusher>(&as_stored(pusher)).is_ok()
    };
    // Conduit has one pusher for a key; the last one stays.
    let expected: BTreeMap<_, _> = user
        .pushers
        .iter()
        .filter(usable)
        .map(|pusher| (pusher.pushkey.expose_secret(), pusher))
        .collect();
    for (key, pusher) in &expected {
        let stored = get(store, &trees::SENDERKEY_PUSHER, &UserPushkey { user: id, pushkey: key })?;
        match stored {
            None => found.add(&codes::MISSING_IN_DATABASE, item(pusher), "the pusher is missing"),
            Some(stored) if Json::of(&stored) == Json::of(as_stored(pusher)) => {}
            Some(_) => found.add(&codes::DIFFERS_FROM_DUMP, item(pusher), "the pusher differs"),
        }
    }
    let prefix = trees::SENDERKEY_PUSHER.key_of(&UserPushkey { user: id, pushkey: "" });
    for row in store.scan(&trees::SENDERKEY_PUSHER, &prefix)? {
        let (key, value) = row?;
        let Ok(fields) = trees::SENDERKEY_PUSHER.read_key(&key) else { continue };
        if !expected.contains_key(fields.pushkey) {
            let pusher: Value = serde_json::from_slice(&value).unwrap_or_default();
            let app = pusher.get("app_id").and_then(Value::as_str).unwrap_or("a pusher");
            found.add(
                &codes::NOT_IN_DUMP,
                format!("{app} of {id}"),
                "the pusher is not in the dump",
            );
        }
    }
    Ok(())
}

fn as_stored(pusher: &DumpPusher) -> String {
    let mut json = serde_json::json!({
        "pushkey": pusher.pushkey.expose_secret(),
        "app_id": pusher.app_id,
        "kind": pusher.kind,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
    });
    let tag = pusher.profile_tag.as_ref().filter(|tag| !tag.is_empty());
    if let (Some(tag), Some(json)) = (tag, json.as_object_mut()) {
        json.insert("profile_tag".into(), tag.as_str().into());
    }
    // Data that is no value is in none.
    let rest = json.to_string();
    format!("{{\"data\":{},{}", pusher.data.get(), rest.strip_prefix('{').unwrap_or_default())
}

/// Filters that Conduit can read.
pub(super) fn compare_filters(
    store: &dyn KvRead,
    user: &DumpUser,
    skipped: &Skipped<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    for (filter, definition) in &user.filters {
        let item = format!("filter {filter} of {id}");
        let kept = skipped.keeps(Kind::Filter, &item, || {
            serde_json::from_str::<FilterDefinition>(definition.get()).is_ok()
        });
        let key = UserFilter { user: id, filter };
        let stored = get(store, &trees::USERFILTERID_FILTER, &key)?;
        if kept && !json::same(stored.as_deref(), definition.get()) {
            found.add(&codes::DIFFERS_FROM_DUMP, item, "differs or is missing");
        }
    }
    let prefix = trees::USERFILTERID_FILTER.key_of(&UserFilter { user: id, filter: "" });
    for row in store.scan(&trees::USERFILTERID_FILTER, &prefix)? {
        let (key, _) = row?;
        let Ok(fields) = trees::USERFILTERID_FILTER.read_key(&key) else { continue };
        let filter = fields.filter;
        if !user.filters.contains_key(filter) {
            found.add(
                &codes::NOT_IN_DUMP,
                format!("filter {filter} of {id}"),
                "is not in the dump",
            );
        }
    }
    Ok(())
}
