use std::sync::Arc;

use serde_json::value::RawValue;

use super::{FromValue, KeptRow, Known, Value};

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
            "column `c1` is not a number from 0 on, so the row can't be moved".to_owned()
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

#[test]
fn numbers_of_other_types_are_read_if_they_are_whole() {
    let number = |value: Value<'_>| i64::from_value(&value);
    assert_eq!(number(super::real(1_757_345_200.0)), Some(1_757_345_200));
    assert_eq!(number(super::real(-0.0)), Some(0));
    for fraction in [1_757_345_200.5, 1e300, f64::NAN, f64::INFINITY] {
        assert_eq!(super::real(fraction), Value::Real, "{fraction}");
    }
    assert_eq!(Known::<u64>::from_value(&Value::Real), Some(Known(None)));
    assert_eq!(Known::<u64>::from_value(&Value::Integer(-1)), Some(Known(None)));
    assert_eq!(Known::<u64>::from_value(&Value::Integer(5)), Some(Known(Some(5))));
    assert_eq!(bool::from_value(&Value::Real), Some(true));
    assert_eq!(bool::from_value(&Value::Text("".into())), Some(false));
}

#[test]
fn numerics_are_read_if_they_are_whole() {
    // Digits, weight, sign, scale, digits.
    let read = |words: &[u16]| {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        super::numeric(&bytes)
    };
    assert_eq!(read(&[3, 2, 0, 0, 17, 5734, 5200]), Some(1_757_345_200));
    assert_eq!(read(&[1, 2, 0x4000, 0, 17]), Some(-1_700_000_000));
    assert_eq!(read(&[0, 0, 0, 0]), Some(0));
    assert_eq!(read(&[2, 0, 0, 1, 5, 5000]), None);
    assert_eq!(read(&[1, 0xffff, 0, 1, 5000]), None);
    assert_eq!(read(&[1, 2, 0, 2, 17]), Some(1_700_000_000));
    assert_eq!(read(&[1, 90, 0, 0, 17]), None);
    assert_eq!(read(&[0, 0, 0xc000, 0]), None);
    assert_eq!(super::numeric(&[0, 1]), None);
}
