//! What a value becomes.

use super::schema::Kind;

/// A value that nobody expects.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    /// Bytes that are no text.
    Bytes,
    Number(i64),
    /// A number that is not whole.
    Fraction,
    /// In the JSON that stands there, one value or name becomes this JSON.
    Inside(String),
}

/// `[[[…]]]` or `{"a":{"a":…}}`, 200 deep.
fn deep(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(200), close.repeat(200))
}

/// What any column can become.
pub(super) fn of(kind: Kind, is_json: bool) -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        Value::Bytes,
        Value::Fraction,
        Value::Number(-1),
        Value::Number(i64::MAX),
    ];
    let (array, object) = (deep("[", "]"), deep("{\"a\":", "}"));
    let texts = [
        "",
        "x",
        "0",
        "no { JSON",
        "null",
        "[]",
        "{}",
        "\"text\"",
        "1e400",
        "\"\\ud800\"",
        r#"{"a":"\ud800"}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":1e400}"#,
        &array,
        &object,
        "a\u{0}b",
        "a\u{1}\u{7f}\u{202e}b",
        "@nobody:family.test",
        "@someone:far.test",
        "@typo",
        "$nothing",
        "!nowhere:family.test",
        "!far:far.test",
        "#nothing:far.test",
        "join",
        "leave",
        "ban",
        "invite",
        "knock",
        "12",
        "99",
    ];
    values.extend(texts.map(|text| Value::Text(text.to_owned())));
    values.push(Value::Text("long ".repeat(20_000)));
    if matches!(kind, Kind::Number | Kind::Truth) {
        values.extend([0, 1, i64::MIN, 1 << 53].map(Value::Number));
    }
    if is_json {
        for json in [
            "null",
            "true",
            "1.5",
            "-1",
            "9223372036854775807",
            "1e400",
            "\"\"",
            "\"x\"",
            "\"\\ud800\"",
            "[]",
            "{}",
            "[null]",
            r#"{"a":null}"#,
            &array,
            &object,
            "\"@nobody:family.test\"",
            "\"!far:far.test\"",
        ] {
            // Which of its values, chance decides.
            values.extend([(); 3].map(|()| Value::Inside(json.to_owned())));
        }
    }
    values
}

/// JSON in which one value, or the name of one, is another; `None` if it is no JSON.
pub(super) fn inside(json: &str, other: &str, chance: u64) -> Option<String> {
    const HERE: &str = "replaced by another value";
    let mut value: serde_json::Value = serde_json::from_str(json).ok()?;
    let mut paths = Vec::new();
    collect(&value, String::new(), &mut paths);
    let place = usize::try_from(chance).ok()?.checked_rem(paths.len())?;
    let path = &paths[place];
    // Names become others as well, if the other is a text.
    if other.starts_with('"')
        && chance & (1 << 40) != 0
        && let Some((parent, name)) = path.rsplit_once('/')
        && let Some(object) = value.pointer_mut(parent).and_then(serde_json::Value::as_object_mut)
        && let Some(held) = object.remove(&name.replace("~1", "/").replace("~0", "~"))
    {
        object.insert(HERE.into(), held);
    } else {
        *value.pointer_mut(path)? = HERE.into();
    }
    Some(value.to_string().replace(&format!("\"{HERE}\""), other))
}

fn collect(value: &serde_json::Value, path: String, paths: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{path}/{name}"), paths);
            }
        }
        serde_json::Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
    if !path.is_empty() {
        paths.push(path);
    }
}
