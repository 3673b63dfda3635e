//! A user's account data: written as it is in the dump, but for what Conduit itself could not read.

use std::collections::BTreeMap;

use ruma::{
    OwnedRoomId, OwnedUserId,
    events::{
        direct::DirectEventContent,
        ignored_user_list::IgnoredUserListEventContent,
        tag::{TagEventContent, TagInfo},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    Findings, KvRead, Skipped, VerifyError, codes, json, push_rules, users::KnownAccountData,
};
use crate::{
    conduit::members::Members, dump::format::DumpUser, tally::Kind,
    verify::tools::lookup::account_data,
};

pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    skipped: &Skipped<'_>,
    known: &mut KnownAccountData,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let global = user.account_data.global.iter().map(|(kind, content)| ("", kind, content));
    let rooms = user.account_data.rooms.iter().flat_map(|(room, types)| {
        types.iter().map(|(kind, content)| (room.as_str(), kind, content))
    });
    for (room, kind, content) in global.chain(rooms) {
        if room.is_empty() && kind == "m.push_rules" {
            continue;
        }
        known.insert(room, id, kind);
        let item = format!("{kind} of {id} {room}");
        let item = item.trim();
        let counted = if room.is_empty() { Kind::AccountData } else { Kind::RoomAccountData };
        let content = content.get();
        let expected = Expected::of(kind, content);
        let kept = skipped.keeps(counted, item, || expected != Expected::Nothing);
        let stored = account_data(store, room, id, kind)?;
        if kept && !stored.is_some_and(|stored| is(&stored, kind, content, &expected)) {
            found.add(&codes::DIFFERS_FROM_DUMP, item, "differs or is missing");
        }
    }
    push_rules::compare(store, user, found)
}

/// What should be there.
#[derive(Debug, PartialEq)]
enum Expected {
    /// What the dump has.
    Same,
    /// Entries that can be read, one by one: their names and what they say.
    Entries(BTreeMap<String, String>),
    Nothing,
}

impl Expected {
    fn of(kind: &str, content: &str) -> Self {
        let reads = match kind {
            "m.direct" => reads::<DirectEventContent>(content),
            "m.ignored_user_list" => reads::<IgnoredUserListEventContent>(content),
            "m.tag" => reads::<TagEventContent>(content),
            _ => true,
        };
        if reads { Self::Same } else { entries(kind, content).map_or(Self::Nothing, Self::Entries) }
    }
}

fn reads<T: DeserializeOwned>(json: &str) -> bool {
    serde_json::from_str::<T>(json).is_ok()
}

/// The entries of a content that Conduit could read.
fn entries(kind: &str, content: &str) -> Option<BTreeMap<String, String>> {
    let members = Members::of(content)?;
    let entries = match kind {
        "m.direct" => members,
        "m.ignored_user_list" => Members::of(members.get("ignored_users")?)?,
        _ => Members::of(members.get("tags")?)?,
    };
    let entry = |(name, value): (&str, &str)| {
        let name: String = serde_json::from_str(name).ok()?;
        let said = match kind {
            "m.direct" => {
                let rooms: Vec<&RawValue> = serde_json::from_str(value).ok()?;
                let rooms =
                    rooms.iter().map(|room| serde_json::from_str::<OwnedRoomId>(room.get()));
                format!("{:?}", rooms.filter_map(Result::ok).collect::<Vec<_>>())
            }
            "m.ignored_user_list" => OwnedUserId::try_from(name.as_str()).ok()?.to_string(),
            _ => {
                let info = serde_json::from_str::<TagInfo>(value).unwrap_or_default();
                format!("{:?}", info.order)
            }
        };
        Some((name, said))
    };
    Some(entries.iter().filter_map(entry).collect())
}

/// Whether a row is the event that is expected.
fn is(stored: &[u8], kind: &str, content: &str, expected: &Expected) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let Ok(event) = serde_json::from_slice::<Event<'_>>(stored) else { return false };
    let there = event.content.get();
    event.kind == kind
        && match expected {
            Expected::Same => json::same(Some(there.as_bytes()), content),
            Expected::Entries(expected) => {
                Expected::of(kind, there) == Expected::Same
                    && entries(kind, there).as_ref() == Some(expected)
            }
            Expected::Nothing => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_expected_and_nothing_else() {
        let direct = r#"{"@a:x":["!r:x",1],"@b:x":null}"#;
        let expected = Expected::of("m.direct", direct);
        let row = |content: &str| format!(r#"{{"content":{content},"type":"m.direct"}}"#);
        for (content, good) in [
            (r#"{"@a:x":["!r:x"]}"#, true),
            (r"{}", false),
            (r#"{"@a:x":["!r:x","!s:x"]}"#, false),
            (r#"{"@a:x":["!r:x"],"@b:x":[]}"#, false),
            (direct, false),
        ] {
            let row = row(content);
            assert_eq!(is(row.as_bytes(), "m.direct", direct, &expected), good, "{content}");
        }
        assert_eq!(Expected::of("m.direct", "[]"), Expected::Nothing);
        assert_eq!(Expected::of("m.direct", "{}"), Expected::Same);
    }
}
