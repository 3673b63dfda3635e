use std::sync::Arc;

use serde_json::value::RawValue;

use super::{FromValue, KeptRow, Value};

fn row(values: Vec<Value<'static>>) -> KeptRow {
    let names: Arc<[String]> = (0..values.len()).map(|number| format!("c{number}")).collect();
    KeptRow { values, names }
}

#[test]
fn values_of_other_types_are_named() {
    let text = || Value::Text("x".into());
    let row = row(vec![text(), Value::Integer(-1), Value::Null, Value::Bytes(b"{}"[..].into())]);
    assert_eq!(row.label(), "x");
    let broken = row.decode::<(String, u64)>().unwrap_err();
    assert_eq!(
        (broken.reason, broken.to_string()),
        (
            "value-invalid",
            "column `c1` is not a number from 0 on; Synapse can't use the row either".to_owned()
        )
    );
    assert_eq!(row.decode::<(String, i64, bool)>(), Ok(("x".to_owned(), -1, false)));
    assert!(row.decode::<(i64,)>().is_err());
    assert!(row.decode::<(String, i64, String)>().is_err());
    assert_eq!(row.decode::<(String, i64, Option<String>)>(), Ok(("x".to_owned(), -1, None)));
}

#[test]
fn json_is_text_or_bytes_and_whole() {
    let json = |value| Box::<RawValue>::from_value(&value).map(|json| json.get().to_owned());
    assert_eq!(json(Value::Text("{\"a\":1.0}".into())).as_deref(), Some("{\"a\":1.0}"));
    assert_eq!(json(Value::Bytes(b"[]"[..].into())).as_deref(), Some("[]"));
    assert_eq!(json(Value::Text("{".into())), None);
    assert_eq!(json(Value::Bytes(vec![b'"', 0xff, b'"'].into())), None);
    assert_eq!(json(Value::Null), None);
}

#[test]
fn a_row_without_the_column_is_broken() {
    assert!(row(vec![]).decode::<(String,)>().is_err());
    assert_eq!(row(vec![]).label(), "?");
}
