//! The members of a JSON object as they stand there, whatever is in them.
//!
//! JSON can hold what [`serde_json::Value`] refuses and [`RawValue`] passes over: `"\ud800"`, a nesting of hundreds, `1e400`. Conduit
//! passes on what users keep on it unread, so such JSON can be stored; it is taken apart here without being read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object: names and values, in their order. Of a name that is there twice, the last value counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Members<'a> {
    /// Takes an object apart. `None`: it is no object.
    pub(crate) fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Names, quoted as they stand there, and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }

    /// The value of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(quoted, _)| is(quoted, name)).map(|(_, value)| value)
    }

    /// The object with another value for one of its members.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        write(self.iter().map(|(quoted, old)| (quoted, if is(quoted, name) { value } else { old })))
    }

    /// The object without a member.
    pub(crate) fn without(&self, name: &str) -> String {
        write(self.iter().filter(|(quoted, _)| !is(quoted, name)))
    }
}

/// An object of members whose names are quoted.
pub(crate) fn write<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Whether a quoted text is this one.
fn is(quoted: &str, text: &str) -> bool {
    serde_json::from_str::<String>(quoted).is_ok_and(|name| name == text)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(&str, &str)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((name.get(), value.get()));
                }
                Ok(Members(last_of_each(members)))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Of members with one name, the last, in the place of the last.
fn last_of_each<'a>(members: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<_> =
        members.into_iter().rev().filter(|(name, _)| seen.insert(*name)).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_can_be_in_an_object() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let json = format!(r#"{{"a":1e400, "\ud800" : "\udfff","\u0062":{deep},"a":2}}"#);
        let members = Members::of(&json).unwrap();
        assert_eq!(
            members.iter().collect::<Vec<_>>(),
            [(r#""\ud800""#, r#""\udfff""#), (r#""\u0062""#, deep.as_str()), (r#""a""#, "2")]
        );
        assert_eq!((members.get("b"), members.get("c")), (Some(deep.as_str()), None));
        assert_eq!(members.without("b"), r#"{"\ud800":"\udfff","a":2}"#);
        assert_eq!(Members::of(r#"{"a":1,"b":2}"#).unwrap().with("a", "3"), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["", "[]", "1", "{", r#"{"a":1} x"#, r#"{"a"}"#] {
            assert!(Members::of(json).is_none(), "{json}");
        }
    }
}
