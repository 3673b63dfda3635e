//! Pushers and filters. Conduit reads both, so what it can't read is left out.

use ruma::api::client::{filter::FilterDefinition, push::Pusher};
use secrecy::ExposeSecret as _;
use serde_json::value::RawValue;

use super::{
    super::{Import, ImportError},
    account::may_act,
};
use crate::{
    conduit::schema::{layout::Part, trees},
    dump::format::{DumpPusher, DumpUser},
    tally::Kind,
};

/// A pusher as Conduit stores it.
#[derive(serde::Serialize)]
struct Stored<'a> {
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

impl Import<'_> {
    pub(super) fn pusher(
        &mut self,
        user: &DumpUser,
        pusher: &DumpPusher,
    ) -> Result<(), ImportError> {
        let item = format!("{} of {}", pusher.app_id, user.user_id);
        self.tally.read(Kind::Pusher, 1);
        let stored = stored(pusher);
        let refused = if pusher.kind != "http" {
            Some(("not-in-conduit", format!("Conduit sends no {} pushes", pusher.kind)))
        } else if !pusher.enabled {
            Some(("pusher-disabled", "Conduit would switch it on".into()))
        } else if !may_act(user) {
            Some(("account-without-rights", "the account may not act".into()))
        } else {
            let parsed = serde_json::from_str::<Pusher>(&stored);
            parsed.err().map(|error| ("pusher-unparsable", error.to_string()))
        };
        if let Some((reason, detail)) = refused {
            self.tally.skip(Kind::Pusher, item, reason, detail);
            return Ok(());
        }
        let key = [Part::Text(user.user_id.as_str()), Part::Text(pusher.pushkey.expose_secret())];
        self.rows.put(&trees::SENDERKEY_PUSHER, &key, &[stored.as_str().into()])?;
        self.tally.written(Kind::Pusher, 1);
        Ok(())
    }

    pub(super) fn filter(
        &mut self,
        user: &str,
        id: &str,
        filter: &RawValue,
    ) -> Result<(), ImportError> {
        self.tally.read(Kind::Filter, 1);
        if let Err(error) = serde_json::from_str::<FilterDefinition>(filter.get()) {
            let item = format!("filter {id} of {user}");
            self.tally.skip(Kind::Filter, item, "filter-unparsable", error.to_string());
            return Ok(());
        }
        self.rows.put(
            &trees::USERFILTERID_FILTER,
            &[user.into(), id.into()],
            &[filter.get().into()],
        )?;
        self.tally.written(Kind::Filter, 1);
        Ok(())
    }
}

/// The bytes to store: as the value that the pusher is, or, of data that is none, as it stands.
fn stored(pusher: &DumpPusher) -> String {
    let tag = pusher.profile_tag.as_deref().filter(|tag| !tag.is_empty());
    let data = serde_json::from_str::<serde_json::Value>(pusher.data.get());
    let data = data.ok().and_then(|data| serde_json::value::to_raw_value(&data).ok());
    super::account::json_text(&Stored {
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
