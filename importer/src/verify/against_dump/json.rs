//! JSON of the dump and of the database, to be compared.

use serde_json::Value;

/// JSON as a value; what no value can hold (lone surrogates, a nesting of hundreds, numbers beyond all bounds) as its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Value(Value),
    Opaque(Vec<u8>),
}

impl Json {
    pub(super) fn of(json: impl AsRef<[u8]>) -> Self {
        let json = json.as_ref();
        serde_json::from_slice(json)
            .map_or_else(|_error| Self::Opaque(json.to_owned()), Self::Value)
    }
}

/// Whether a row exists and holds the same JSON value.
pub(super) fn same(stored: Option<&[u8]>, expected: &str) -> bool {
    stored.is_some_and(|stored| {
        stored == expected.as_bytes() || Json::of(stored) == Json::of(expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_value_can_hold_is_compared_too() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for json in
            [r#"{"a":1}"#, r#"{"a":"\ud800"}"#, r#"{"\ud800":1}"#, "1e400", &deep, "no JSON"]
        {
            assert!(same(Some(json.as_bytes()), json), "{json}");
            assert!(!same(None, json), "{json}");
            assert!(!same(Some(b"null"), json), "{json}");
        }
        assert!(same(Some(br#"{"b":2, "a":1}"#), r#"{"a":1,"b":2}"#));
        assert!(!same(Some(br#"{"a":"\udfff"}"#), r#"{"a":"\ud800"}"#));
    }
}
