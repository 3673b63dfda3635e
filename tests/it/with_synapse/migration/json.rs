//! `importer/docs/json.md` against what is really written: every field of it, and no other.

use std::{collections::BTreeMap, fs};

use migration_tests::{command, lab::Lab};
use serde_json::Value;

/// A row of a table: whether the field is always there, and its type.
struct Field {
    is_optional: bool,
    kind: String,
}

/// The tables of the document by their headings.
fn documented() -> BTreeMap<String, BTreeMap<String, Field>> {
    let text = include_str!("../../../../importer/docs/json.md");
    let mut tables: BTreeMap<String, BTreeMap<String, Field>> = BTreeMap::new();
    let mut heading = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = title.to_lowercase().replace('.', "");
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, ..] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        let field = Field { is_optional: name.ends_with('?'), kind: kind.to_owned() };
        let name = name.trim_end_matches('?').to_owned();
        tables.entry(heading.clone()).or_default().insert(name, field);
    }
    // `*` stands for all fields of another table.
    let mut whole = BTreeMap::new();
    for (heading, mut fields) in tables {
        let rest = fields.remove("*");
        whole.insert(heading, (fields, rest.map(|field| anchor(&field.kind).to_owned())));
    }
    let expanded = whole.iter().filter_map(|(heading, (_, rest))| {
        let (fields, _) = &whole[rest.as_ref()?];
        let copies = fields.iter().map(|(name, field)| {
            (name.clone(), Field { is_optional: field.is_optional, kind: field.kind.clone() })
        });
        Some((heading.clone(), copies.collect::<Vec<_>>()))
    });
    let expanded: Vec<_> = expanded.collect();
    let mut tables: BTreeMap<_, _> =
        whole.into_iter().map(|(heading, (fields, _))| (heading, fields)).collect();
    for (heading, copies) in expanded {
        tables.get_mut(&heading).unwrap().extend(copies);
    }
    tables
}

/// The heading that a type links to.
fn anchor(kind: &str) -> &str {
    kind.split("(#").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default()
}

struct Reader {
    tables: BTreeMap<String, BTreeMap<String, Field>>,
    wrong: Vec<String>,
}

impl Reader {
    fn object(&mut self, value: &Value, heading: &str, path: &str) {
        let fields = self.tables.remove(heading).unwrap_or_else(|| panic!("no table `{heading}`"));
        for (name, field) in &fields {
            match value.get(name) {
                Some(value) => self.value(value, &field.kind, &format!("{path}.{name}")),
                None if field.is_optional => {}
                None => self.wrong.push(format!("{path}.{name} is not written")),
            }
        }
        for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !fields.contains_key(name) {
                self.wrong.push(format!("{path}.{name} is not documented"));
            }
        }
        self.tables.insert(heading.to_owned(), fields);
    }

    fn value(&mut self, value: &Value, kind: &str, path: &str) {
        if let Some(kind) = kind.strip_suffix(" or null") {
            if !value.is_null() {
                self.value(value, kind, path);
            }
        } else if let (Some(kind), Some(list)) = (kind.strip_prefix("list of "), value.as_array()) {
            for value in list {
                self.value(value, kind.trim_end_matches('s'), &format!("{path}[]"));
            }
        } else if let (Some(kind), Some(object)) =
            (kind.strip_prefix("object of "), value.as_object())
        {
            for value in object.values() {
                self.value(value, kind.trim_end_matches('s'), &format!("{path}{{}}"));
            }
        } else if kind.starts_with('[') && value.is_object() {
            self.object(value, anchor(kind), path);
        } else {
            let is_so = match kind {
                "text" => value.is_string(),
                "number" => value.is_number(),
                "yes or no" => value.is_boolean(),
                _ => false,
            };
            if !is_so {
                self.wrong.push(format!("{path} is no {kind}"));
            }
        }
    }
}

/// Compares a document with its table.
fn compare(value: &Value, heading: &str) {
    let mut reader = Reader { tables: documented(), wrong: Vec::new() };
    reader.object(value, heading, heading);
    reader.wrong.sort();
    reader.wrong.dedup();
    assert_eq!(reader.wrong, [""; 0]);
}

#[test]
fn what_is_written_is_what_is_documented() {
    let lab = Lab::stopped().unwrap();
    let database = lab.path("conduit");
    let run = |name: &str, more: &[&str]| {
        let mut arguments = vec![name.to_owned()];
        arguments.extend(lab.by_database());
        arguments.extend(["--database".to_owned(), database.to_string_lossy().into_owned()]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let run = command::run(arguments).unwrap();
        let value: Value = serde_json::from_str(&run.out).unwrap();
        (run.code, value)
    };
    let (code, prepared) = run("media", &[]);
    assert_eq!(code, 0);
    compare(&prepared, "media");
    let (code, check) = run("check", &[]);
    assert_eq!(code, 10);
    assert!(
        check["findings"][0]["meaning"].as_str().unwrap().starts_with("rooms with local users")
    );
    compare(&check, "check");
    let (code, refused) = run("migrate", &[]);
    assert_eq!(code, 10);
    compare(&refused, "refused");
    let (code, migrated) = run("migrate", &["--accept", "C301"]);
    assert_eq!(code, 11);
    compare(&migrated, "migrate");
    assert_eq!(migrated["verdict"], "something-missing");
    let report = fs::read(lab.path("conduit.report/report.json")).unwrap();
    compare(&serde_json::from_slice(&report).unwrap(), "reportjson");

    let [dump, again] = ["conduit.dump", "again"].map(|name| lab.path(name));
    compare(&command::import(&dump, &again, "sqlite").unwrap(), "import");
}

#[test]
fn a_field_that_is_missing_or_new_is_found() {
    let mut reader = Reader { tables: documented(), wrong: Vec::new() };
    let step = serde_json::json!({"text": 1, "command": []});
    reader.object(&step, "todo", "todo");
    reader.wrong.sort();
    assert_eq!(
        reader.wrong,
        ["todo.command is not documented", "todo.commands is not written", "todo.text is no text"]
    );
}
