//! Pushers and filters. Conduit reads both, so what it can't read is left out.

use std::collections::BTreeMap;

use ruma::api::client::{filter::FilterDefinition, push::Pusher};
use secrecy::ExposeSecret as _;
use serde_json::value::RawValue;

use super::account::{json_text, may_act};
use crate::{
    conduit::schema::{
        dialect::Dialect,
        shapes::{AsSent, Device, Pushkey, UserFilter, UserPushkey},
        trees,
    },
    dump::format::{DumpPusher, DumpUser},
    import::{ImportError, row_writer::Rows, skip::SkipReason},
    tally::{Kind, Tally},
};

/// Writes a user's pushers and filters.
pub(super) fn write(
    user: &DumpUser,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let id = user.user_id.as_str();
    // Continuwuity removes a device's pushers when it logs out.
    let knows_devices = rows.holds(&trees::PUSHKEY_DEVICEID);
    let pushers: Vec<_> = user
        .pushers
        .iter()
        .map(|pusher| {
            let stored = stored(pusher);
            let unfit = unfit_pusher(user, rows.dialect(), pusher, &stored);
            (pusher, stored, unfit)
        })
        .collect();
    // The server has one pusher of a user for a key; the last one stays.
    let last: BTreeMap<_, _> = pushers
        .iter()
        .filter(|(.., unfit)| unfit.is_none())
        .map(|(pusher, ..)| (pusher.pushkey.expose_secret(), pusher.app_id.as_str()))
        .collect();
    for (pusher, stored, unfit) in &pushers {
        let item = || format!("{} of {id}", pusher.app_id);
        let other = last.get(pusher.pushkey.expose_secret()).filter(|app| **app != pusher.app_id);
        let unfit = unfit.clone().or_else(|| {
            let detail = format!("the pusher of {} has the same key", other?);
            Some(SkipReason::with("pushkey-twice", detail))
        });
        if tally.keeps(Kind::Pusher, item, unfit) {
            let key = UserPushkey { user: id, pushkey: pusher.pushkey.expose_secret() };
            rows.put(&trees::SENDERKEY_PUSHER, &key, &AsSent { json: stored })?;
            if let Some(device) = pusher.device_id.as_deref().filter(|_| knows_devices) {
                let key = Pushkey { pushkey: key.pushkey };
                rows.put(&trees::PUSHKEY_DEVICEID, &key, &Device { device })?;
            }
        }
    }
    for (name, filter) in &user.filters {
        let item = || format!("filter {name} of {id}");
        if tally.keeps(Kind::Filter, item, unfit_filter(filter)) {
            let key = UserFilter { user: id, filter: name };
            rows.put(&trees::USERFILTERID_FILTER, &key, &AsSent { json: filter.get() })?;
        }
    }
    Ok(())
}

/// Why a pusher is left out; `stored` is what [`stored`] makes of it.
fn unfit_pusher(
    user: &DumpUser,
    dialect: Dialect,
    pusher: &DumpPusher,
    stored: &str,
) -> Option<SkipReason> {
    if pusher.kind != "http" {
        let detail = format!("{dialect} sends no {} pushes", pusher.kind);
        Some(SkipReason::with("not-in-conduit", detail))
    } else if !pusher.enabled {
        Some(SkipReason::new("pusher-disabled", "Conduit would switch it on"))
    } else if !may_act(user, dialect) {
        Some(SkipReason::new("account-without-rights", "the account may not act"))
    } else {
        let error = serde_json::from_str::<Pusher>(stored).err()?;
        Some(SkipReason::with("pusher-unparsable", error.to_string()))
    }
}

fn unfit_filter(filter: &RawValue) -> Option<SkipReason> {
    let error = serde_json::from_str::<FilterDefinition>(filter.get()).err()?;
    Some(SkipReason::with("filter-unparsable", error.to_string()))
}

/// A pusher as Conduit stores it.
#[derive(serde::Serialize)]
struct StoredPusher<'a> {
    app_display_name: &'a str,
    app_id: &'a str,
    data: &'a RawValue,
    device_display_name: &'a str,
    kind: &'a str,
    lang: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_tag: Option<&'a str>,
    pushkey: &'a str,
}

/// The JSON to store. Data that no [`serde_json::Value`] can hold stays as it is.
fn stored(pusher: &DumpPusher) -> String {
    let tag = pusher.profile_tag.as_deref().filter(|tag| !tag.is_empty());
    let data = serde_json::from_str::<serde_json::Value>(pusher.data.get());
    let data = data.ok().and_then(|data| serde_json::value::to_raw_value(&data).ok());
    json_text(&StoredPusher {
        app_display_name: &pusher.app_display_name,
        app_id: &pusher.app_id,
        data: data.as_deref().unwrap_or(&pusher.data),
        device_display_name: &pusher.device_display_name,
        kind: &pusher.kind,
        lang: &pusher.lang,
        profile_tag: tag,
        pushkey: pusher.pushkey.expose_secret(),
    })
}
