//! Canonical JSON, borrowed from the text it was read from: what ruma's type of that name accepts, without its maps and
//! copies. Events are read by the million.

use std::{borrow::Cow, fmt};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Unexpected, Visitor},
};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canonical<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that Matrix allows.
    Integer(Int),
    /// A text.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Canonical<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object: its members sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Canonical<'a>)>);

impl<'a> Canonical<'a> {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl<'a> Object<'a> {
    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Canonical<'a>> {
        let at = self.0.binary_search_by(|(found, _)| (**found).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The text of that name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Removes the member of that name.
    pub fn remove(&mut self, name: &str) -> Option<Canonical<'a>> {
        let at = self.0.binary_search_by(|(found, _)| (**found).cmp(name)).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Adds a member, or replaces the one of its name.
    pub fn insert(&mut self, name: &'a str, value: Canonical<'a>) {
        match self.0.binary_search_by(|(found, _)| (**found).cmp(name)) {
            Ok(at) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => self.0.insert(at, (name.into(), value)),
        }
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Canonical<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Sorts members as they came; of those with one name, the last counts.
    fn new(mut members: Vec<(Cow<'a, str>, Canonical<'a>)>) -> Self {
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.reverse();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.dedup_by(|(a, _), (b, _)| a == b);
        }
        Self(members)
    }
}

impl From<&Canonical<'_>> for CanonicalJsonValue {
    fn from(value: &Canonical<'_>) -> Self {
        match value {
            Canonical::Null => Self::Null,
            Canonical::Bool(value) => Self::Bool(*value),
            Canonical::Integer(number) => Self::Integer(*number),
            Canonical::Text(text) => Self::String(text.clone().into_owned()),
            Canonical::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Canonical::Object(object) => Self::Object(object.into()),
        }
    }
}

impl From<&Object<'_>> for CanonicalJsonObject {
    fn from(object: &Object<'_>) -> Self {
        object.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

impl<'a> From<&'a CanonicalJsonValue> for Canonical<'a> {
    fn from(value: &'a CanonicalJsonValue) -> Self {
        match value {
            CanonicalJsonValue::Null => Self::Null,
            CanonicalJsonValue::Bool(value) => Self::Bool(*value),
            CanonicalJsonValue::Integer(number) => Self::Integer(*number),
            CanonicalJsonValue::String(text) => Self::Text(text.into()),
            CanonicalJsonValue::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            CanonicalJsonValue::Object(object) => Self::Object(object.into()),
        }
    }
}

impl<'a> From<&'a CanonicalJsonObject> for Object<'a> {
    fn from(object: &'a CanonicalJsonObject) -> Self {
        // The map is sorted.
        Self(object.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Canonical<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CanonicalVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<'de>, A::Error> {
                members(map)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct CanonicalVisitor;

impl<'de> Visitor<'de> for CanonicalVisitor {
    type Value = Canonical<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("canonical JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Canonical::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Canonical::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let out_of_range = || E::invalid_value(Unexpected::Signed(value), &"an integer of 53 bits");
        Int::new(value).map(Canonical::Integer).ok_or_else(out_of_range)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let out_of_range =
            || E::invalid_value(Unexpected::Unsigned(value), &"an integer of 53 bits");
        Int::try_from(value).map(Canonical::Integer).map_err(|_| out_of_range())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Canonical::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Canonical::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Canonical::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        members(map).map(Canonical::Object)
    }
}

fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<Object<'de>, A::Error> {
    let mut members = Vec::new();
    while let Some((Name(name), value)) = map.next_entry()? {
        members.push((name, value));
    }
    Ok(Object::new(members))
}

/// A member's name, borrowed if it has no escapes; serde's own `Cow` never is.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a text in both ways; they must accept the same, and write the same.
    fn check(text: &str) {
        let ruma = serde_json::from_str::<CanonicalJsonObject>(text).ok();
        let ours = serde_json::from_str::<Object<'_>>(text).ok();
        assert_eq!(ours.is_some(), ruma.is_some(), "{text}");
        let (Some(ours), Some(ruma)) = (ours, ruma) else { return };
        assert_eq!(CanonicalJsonObject::from(&ours), ruma);
        assert_eq!(Object::from(&ruma), ours);
        assert_eq!(serde_json::to_string(&ours).unwrap(), serde_json::to_string(&ruma).unwrap());
    }

    #[test]
    fn it_is_what_ruma_takes_for_canonical_json() {
        for text in [
            r#"{"b":1,"a":[true,null,{"z":"ü\n\u0000","y":{}}],"b":2,"\u0061":3}"#,
            r#"{"a":9007199254740991,"b":-9007199254740991}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":-9007199254740992}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-0}"#,
            r#"{"a":"\ud800"}"#,
            r"[]",
            r#"{"a":1"#,
            "",
        ] {
            check(text);
        }
        check(&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)));
    }

    #[test]
    fn members_can_be_found_added_and_removed() {
        let mut object: Object<'_> = serde_json::from_str(r#"{"c":1,"a":"x"}"#).unwrap();
        object.insert("b", Canonical::Null);
        object.insert("a", Canonical::Text("y".into()));
        assert_eq!(object.text("a"), Some("y"));
        assert_eq!(object.remove("c").and_then(|number| number.as_u64()), Some(1));
        assert_eq!(object.remove("c"), None);
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":"y","b":null}"#);
    }

    proptest! {
        #[test]
        fn any_texts_are_taken_alike(members in proptest::collection::vec((".{0,3}", ".{0,5}"), 0..6)) {
            let members: Vec<_> = members
                .iter()
                .map(|(name, text)| format!("{}:{}", serde_json::json!(name), serde_json::json!(text)))
                .collect();
            check(&format!("{{{}}}", members.join(",")));
        }
    }
}
