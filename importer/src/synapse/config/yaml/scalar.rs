//! What a scalar is: the implicit types of YAML 1.1, as PyYAML finds them.

use serde_json::{Number, Value};

/// The value of a scalar. `tag` is the tag of YAML's own that it has. `None` if it is not what its tag says.
pub(super) fn value(text: &str, plain: bool, tag: Option<&str>) -> Option<Value> {
    match tag {
        None if plain => Some(implicit(text)),
        None | Some("" | "str") => Some(Value::String(text.to_owned())),
        Some("null") => Some(Value::Null),
        Some("bool") => boolean(&text.to_ascii_lowercase()).map(Value::Bool),
        Some("int") => integer(text),
        Some("float") => float(text).or_else(|| number(text.parse().ok()?)),
        Some(_) => None,
    }
}

/// The text of a key, or of a value where a text is expected: as Python prints what was read.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        Value::Null => Some("None".into()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn implicit(text: &str) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    // `tRUE` is a text.
    let lower = text.to_ascii_lowercase();
    let mut capital = lower.clone();
    if let Some(first) = capital.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let is_word = text == lower || text == capital || text == lower.to_ascii_uppercase();
    let word = is_word.then(|| boolean(&lower)).flatten().map(Value::Bool);
    word.or_else(|| integer(text))
        .or_else(|| float(text))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn boolean(lower: &str) -> Option<bool> {
    match lower {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Binary, octal (`012`), decimal, hexadecimal, and base 60 (`1:30`), with `_` anywhere behind the first digit.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = sign(text);
    let all = |digits: &str, radix: u32| {
        digits.chars().all(|digit| digit == '_' || digit.is_digit(radix))
    };
    let first = digits.chars().next().filter(char::is_ascii_digit)?;
    let clean = digits.replace('_', "");
    let parsed = if digits == "0" {
        Some(0)
    } else if let Some(rest) = digits.strip_prefix("0b") {
        all(rest, 2).then(|| i128::from_str_radix(clean.get(2..)?, 2).ok()).flatten()
    } else if let Some(rest) = digits.strip_prefix("0x") {
        all(rest, 16).then(|| i128::from_str_radix(clean.get(2..)?, 16).ok()).flatten()
    } else if first == '0' {
        all(digits, 8).then(|| i128::from_str_radix(&clean, 8).ok()).flatten()
    } else if digits.contains(':') {
        sixty(digits)
    } else if all(digits, 10) {
        let Ok(number) = clean.parse::<i128>() else {
            // Python's numbers have no end; what is asked of this one is its text.
            return Some(Value::String(format!("{}{clean}", if negative { "-" } else { "" })));
        };
        Some(number)
    } else {
        None
    }?;
    let number = if negative { parsed.checked_neg()? } else { parsed };
    let small = i64::try_from(number).map(Number::from);
    let number = small.or_else(|_| u64::try_from(number).map(Number::from)).ok();
    Some(number.map_or_else(|| Value::String(parsed.to_string()), Value::Number))
}

/// `190:20:30`.
fn sixty(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let first = parts.next()?;
    let whole = first.chars().all(|digit| digit == '_' || digit.is_ascii_digit());
    let mut number: i128 = whole.then(|| first.replace('_', "").parse().ok()).flatten()?;
    for part in parts {
        let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
        let part: i128 = fits.then(|| part.parse().ok()).flatten()?;
        number = number.checked_mul(60)?.checked_add(part)?;
    }
    Some(number)
}

/// Numbers with a point; an exponent must have a sign.
fn float(text: &str) -> Option<Value> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, text.get(at..)?),
        None => (text, ""),
    };
    if !exponent.is_empty() {
        let digits = exponent.get(1..)?.strip_prefix(['+', '-'])?;
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then_some(())?;
    }
    let (_, unsigned) = sign(mantissa);
    let (whole, part) = unsigned.split_once('.')?;
    let digits = |text: &str| text.chars().all(|digit| digit == '_' || digit.is_ascii_digit());
    let begins = |text: &str| text.starts_with(|digit: char| digit.is_ascii_digit());
    // `+.5` is a text.
    let starts =
        if whole.is_empty() { begins(part) && unsigned == mantissa } else { begins(whole) };
    (starts && digits(whole) && digits(part)).then_some(())?;
    number(text.replace('_', "").parse().ok()?)
}

fn number(number: f64) -> Option<Value> {
    Number::from_f64(number).map(Value::Number)
}
