//! Account data that Conduit itself reads: ignored users, direct chats, tags. With one entry that it can't read, it fails
//! the invite, the join after an upgrade, or the change of a tag (src/service/rooms/state_cache/mod.rs:88-187,
//! src/api/client_server/tag.rs:15-130). Conduit passes on all other types without parsing them. `verify` has a list of these
//! types of its own, in `verify/against_dump/account_data.rs`.

use ruma::{
    OwnedRoomId, OwnedUserId,
    events::{
        direct::DirectEventContent,
        ignored_user_list::{IgnoredUser, IgnoredUserListEventContent},
        tag::{TagEventContent, TagInfo},
    },
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::members::{self, Members};

/// What Conduit can read of account data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsable {
    /// All of it.
    Whole,
    /// All but some entries.
    Part {
        /// What is left.
        content: String,
        /// What is not, each in words: an operator can look it up.
        left_out: Vec<String>,
    },
    /// Nothing, and why.
    Nothing(String),
}

/// What Conduit can parse of the content of account data of a type: the content for the database.
pub(crate) fn parsable(kind: &str, content: &str) -> Parsable {
    let (parse, part): (Parse, Take) = match kind {
        "m.ignored_user_list" => (parse::<IgnoredUserListEventContent>, ignored_users),
        "m.direct" => (parse::<DirectEventContent>, direct_chats),
        "m.tag" => (parse::<TagEventContent>, tags),
        _ => return Parsable::Whole,
    };
    let Err(error) = parse(content) else { return Parsable::Whole };
    match part(content) {
        Some(Part { content, left_out }) if parse(&content).is_ok() => {
            Parsable::Part { content, left_out }
        }
        _ => Parsable::Nothing(error),
    }
}

/// Reads a content as Conduit does.
type Parse = fn(&str) -> Result<(), String>;
/// Takes what can be read of a content.
type Take = fn(&str) -> Option<Part>;

/// The part that parses of a content, and what is not in it.
struct Part {
    content: String,
    left_out: Vec<String>,
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<(), String> {
    serde_json::from_str::<T>(json).map(drop).map_err(|error| error.to_string())
}

fn is<T: DeserializeOwned>(json: &str) -> bool {
    parse::<T>(json).is_ok()
}

/// Synapse goes by the names alone, so what a name stands for loses nobody.
fn ignored_users(content: &str) -> Option<Part> {
    let members = Members::of(content)?;
    let users = Members::of(members.get("ignored_users")?)?;
    let mut left_out = Vec::new();
    let kept = users.iter().filter_map(|(name, value)| {
        if is::<OwnedUserId>(name) {
            return Some((name, if is::<IgnoredUser>(value) { value } else { "{}" }));
        }
        left_out.push(format!("{}, which is no user id", shown(name)));
        None
    });
    let kept = members::write(kept);
    Some(Part { content: members.with("ignored_users", &kept), left_out })
}

fn direct_chats(content: &str) -> Option<Part> {
    let members = Members::of(content)?;
    let mut left_out = Vec::new();
    let mut kept = Vec::new();
    for (name, value) in members.iter() {
        let rooms = serde_json::from_str::<Vec<&RawValue>>(value);
        let Ok(rooms) =
            rooms.map_err(drop).and_then(|rooms| is::<String>(name).then_some(rooms).ok_or(()))
        else {
            left_out.push(format!("the rooms with {}, which are no list", shown(name)));
            continue;
        };
        let (good, bad): (Vec<_>, Vec<_>) =
            rooms.into_iter().map(RawValue::get).partition(|room| is::<OwnedRoomId>(room));
        for room in bad {
            left_out.push(format!("{} with {}, which is no room id", shown(room), shown(name)));
        }
        kept.push((name, format!("[{}]", good.join(","))));
    }
    let content = members::write(kept.iter().map(|(name, rooms)| (*name, rooms.as_str())));
    Some(Part { content, left_out })
}

/// A tag keeps its name when what is said of it can't be read.
fn tags(content: &str) -> Option<Part> {
    let members = Members::of(content)?;
    let tags = Members::of(members.get("tags")?)?;
    let mut left_out = Vec::new();
    let mut kept = Vec::new();
    for (name, value) in tags.iter() {
        if !is::<String>(name) {
            left_out.push(format!("the tag {}, which is no text", shown(name)));
        } else if is::<TagInfo>(value) {
            kept.push((name, value.to_owned()));
        } else {
            left_out.push(format!("the order of the tag {}, which is no number", shown(name)));
            let rest = Members::of(value).map(|tag| tag.without("order"));
            let rest = rest.filter(|rest| is::<TagInfo>(rest)).unwrap_or_else(|| "{}".into());
            kept.push((name, rest));
        }
    }
    let kept = members::write(kept.iter().map(|(name, tag)| (*name, tag.as_str())));
    Some(Part { content: members.with("tags", &kept), left_out })
}

/// The beginning of what stands there.
fn shown(json: &str) -> String {
    const MOST: usize = 100;
    if json.chars().nth(MOST).is_none() {
        return json.to_owned();
    }
    json.chars().take(MOST).chain(['…']).collect()
}

/// Whether Conduit can give an object to clients to whose keys it adds something: it reads it whole
/// (src/api/client_server/keys.rs:546-563).
pub(crate) fn is_parsable_object(json: &str) -> bool {
    is::<serde_json::Map<String, serde_json::Value>>(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn part(kind: &str, content: &str, left: &str, left_out: &[&str]) {
        let left_out = left_out.iter().map(ToString::to_string).collect();
        assert_eq!(parsable(kind, content), Parsable::Part { content: left.into(), left_out });
    }

    #[test]
    fn one_bad_entry_costs_no_other_one() {
        part(
            "m.ignored_user_list",
            r#"{"x":"\ud800","ignored_users":{"@spam:x":{},"@typo":{},"@more:x":null,"\ud800":{}}}"#,
            r#"{"x":"\ud800","ignored_users":{"@spam:x":{},"@more:x":{}}}"#,
            &[r#""@typo", which is no user id"#, r#""\ud800", which is no user id"#],
        );
        part(
            "m.direct",
            r#"{"@a:x":["!r:x",1,"no"],"@b:x":null,"@c:x":"!r:x","@d:x":["!s:x"]}"#,
            r#"{"@a:x":["!r:x"],"@d:x":["!s:x"]}"#,
            &[
                r#"1 with "@a:x", which is no room id"#,
                r#""no" with "@a:x", which is no room id"#,
                r#"the rooms with "@b:x", which are no list"#,
                r#"the rooms with "@c:x", which are no list"#,
            ],
        );
        part(
            "m.tag",
            r#"{"tags":{"u.a":{"order":"first","x":1e400},"u.b":null,"u.c":{"order":0.5}}}"#,
            r#"{"tags":{"u.a":{"x":1e400},"u.b":{},"u.c":{"order":0.5}}}"#,
            &[
                r#"the order of the tag "u.a", which is no number"#,
                r#"the order of the tag "u.b", which is no number"#,
            ],
        );
    }

    #[test]
    fn what_is_good_or_nobody_reads_stays_as_it_is() {
        for (kind, content) in [
            ("m.direct", r#"{"mail":[ "!r:x" ]}"#),
            ("m.ignored_user_list", r#"{"ignored_users":{},"y":"\ud800"}"#),
            ("m.tag", r#"{"tags":{"m.favourite":{"order":"0.5"}}}"#),
            ("m.other", r"[1e400]"),
        ] {
            assert_eq!(parsable(kind, content), Parsable::Whole, "{kind}");
        }
    }

    #[test]
    fn of_another_form_nothing_can_be_read() {
        for (kind, content) in [
            ("m.direct", "[]"),
            ("m.ignored_user_list", "{}"),
            ("m.ignored_user_list", r#"{"ignored_users":["@a:x"]}"#),
            ("m.tag", "null"),
        ] {
            assert!(matches!(parsable(kind, content), Parsable::Nothing(_)), "{kind} {content}");
        }
    }
}
