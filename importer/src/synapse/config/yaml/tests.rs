use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{NotYaml, parse};

#[test]
fn scalars_are_what_yaml_1_1_says() {
    for (text, value) in [
        ("", Value::Null),
        ("~", Value::Null),
        ("Null", Value::Null),
        ("nULL", json!("nULL")),
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("oFF", json!("oFF")),
        ("y", json!("y")),
        ("0", json!(0)),
        ("012345", json!(5349)),
        ("089", json!("089")),
        ("1_000", json!(1000)),
        ("-0x1F", json!(-31)),
        ("0b101", json!(5)),
        ("0o17", json!("0o17")),
        ("1:30", json!(90)),
        ("1:61", json!("1:61")),
        ("12e34", json!("12e34")),
        ("1.5", json!(1.5)),
        ("1.5e+3", json!(1500.0)),
        ("1.5e3", json!("1.5e3")),
        ("+.5", json!("+.5")),
        (".5", json!(0.5)),
        (
            "99999999999999999999999999999999999999999",
            json!("99999999999999999999999999999999999999999"),
        ),
        ("'12'", json!("12")),
        ("!!str 12", json!("12")),
        ("! 12", json!("12")),
        ("!!int '12'", json!(12)),
    ] {
        assert_eq!(parse(&format!("key: {text}\n")), Ok(json!({ "key": value })), "{text}");
    }
}

#[test]
fn of_equal_keys_the_last_counts_and_merges_count_least() {
    assert_eq!(parse("a: 1\nb: 2\na: 3\n"), Ok(json!({"a": 3, "b": 2})));
    let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], c: 3}\n";
    assert_eq!(parse(text).map(|value| value["z"].clone()), Ok(json!({"a": 1, "b": 1, "c": 3})));
    assert_eq!(parse("z: {'<<': 1}"), Ok(json!({"z": {"<<": 1}})));
}

#[test]
fn what_pyyaml_refuses_is_refused_by_its_line() {
    for (text, line) in [
        ("a: 1\nb: {", 3),
        ("a: !vault x", 1),
        ("a: *nowhere", 1),
        ("a: 1\n---\nb: 2\n", 3),
        ("a: 1\n[b]: 2\n", 2),
        ("a: 1\n<<: 2\n", 2),
        ("a: \tb: c", 1),
    ] {
        let Err(NotYaml { line: found }) = parse(text) else { panic!("{text} is read") };
        assert!(found.abs_diff(line) <= 1, "{text}: line {found}");
    }
    assert_eq!(parse("\u{feff}a: 1 # b\r\n"), Ok(json!({"a": 1})));
    assert_eq!(parse("# nothing\n"), Ok(Value::Null));
}

#[test]
fn a_few_lines_do_not_take_all_memory_or_the_stack() {
    let mut bomb = String::from("a0: &a0 [1, 1]\n");
    for number in 1..60 {
        let before = number - 1;
        writeln!(bomb, "a{number}: &a{number} [*a{before}, *a{before}]").unwrap();
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    let mut deep = String::from("a0: &a0 [1]\n");
    for number in 1..2000 {
        writeln!(deep, "a{number}: &a{number} [[[[*a{}]]]]", number - 1).unwrap();
    }
    assert!(parse(&deep).is_err());
}
