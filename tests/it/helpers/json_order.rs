//! JSON as Conduit writes it: compact, with its keys in a stated order.

use std::fmt;

use importer::conduit::schema::layout::Order;
use ruma::exports::serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};

/// Parses `text` and writes it again in the given order. Equal to `text` exactly if `text` is what Conduit would write.
///
/// # Errors
///
/// If `text` is no JSON.
pub(crate) fn rewrite(text: &str, order: Order) -> Result<String, serde_json::Error> {
    let mut value: Json = serde_json::from_str(text)?;
    match order {
        Order::Sorted => value.sort(),
        Order::Fields(fields) => value.arrange(fields),
        Order::AsSent => {}
    }
    serde_json::to_string(&value)
}

/// JSON that keeps the order of its keys, which `serde_json::Value` doesn't.
enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn sort(&mut self) {
        match self {
            Self::Array(items) => items.iter_mut().for_each(Self::sort),
            Self::Object(members) => {
                members.sort_by(|a, b| a.0.cmp(&b.0));
                for (_, value) in members {
                    value.sort();
                }
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {}
        }
    }

    fn arrange(&mut self, fields: &[&str]) {
        if let Self::Object(members) = self {
            members.sort_by_key(|(name, _)| fields.iter().position(|field| field == name));
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

#[test]
fn each_order_is_reproduced_and_another_one_is_not() {
    let text = r#"{"b":{"d":1,"c":[{"z":0,"y":null}]},"a":"ü"}"#;
    let rewrite = |order| rewrite(text, order).unwrap();
    assert_eq!(rewrite(Order::AsSent), text);
    assert_eq!(rewrite(Order::Sorted), r#"{"a":"ü","b":{"c":[{"y":null,"z":0}],"d":1}}"#);
    assert_eq!(rewrite(Order::Fields(&["b", "a"])), text);
    assert_ne!(rewrite(Order::Fields(&["a", "b"])), text);
}
