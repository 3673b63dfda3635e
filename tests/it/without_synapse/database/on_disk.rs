//! The tables of layouts against databases that a real Conduit and a real Continuwuity wrote.

use std::{collections::BTreeMap, path::Path};

use importer::conduit::{
    schema::{dialect::Dialect, layout::Value, trees::Tree},
    store::{self, Backend},
};
use migration_tests::fixture;

use crate::helpers::json_order;

/// Reads a value and writes it again, JSON from its parsed form.
fn again(tree: &Tree, value: &[u8]) -> Vec<u8> {
    let fields = tree.value.decode(value).unwrap_or_else(|e| panic!("{tree}: {e}: {}", hex(value)));
    let json = tree.value.json_order().zip(fields.get("json"));
    let Some((order, Value::Text(text))) = json else {
        return tree.rewrite_value(value).unwrap_or_else(|| panic!("{tree}: {}", hex(value)));
    };
    json_order::rewrite(text, order).unwrap_or_else(|e| panic!("{tree}: {e}")).into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    format!("{bytes:02x?}")
}

/// The rows of each tree; all of them are decoded, and encoded to the same bytes.
fn rows(directory: &Path, dialect: Dialect) -> BTreeMap<&'static str, u64> {
    assert_eq!(store::detect(directory), Some(Backend::Rocksdb));
    let store = store::read(Backend::Rocksdb, directory).unwrap();
    assert_eq!(store.dialect(), dialect);
    assert_eq!(store.foreign_trees().unwrap(), Vec::<String>::new());
    let mut rows = BTreeMap::new();
    let mut different = Vec::new();
    for tree in dialect.trees() {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            *rows.entry(tree.name).or_insert(0) += 1;
            tree.decode_key(&key).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(tree.rewrite_key(&key).as_deref(), Some(&*key), "{tree}");
            // Continuwuity stores JSON in no order of its own.
            let written = if dialect == Dialect::Conduit {
                again(tree, &value)
            } else {
                tree.rewrite_value(&value).unwrap_or_else(|| panic!("{tree}: {}", hex(&value)))
            };
            if written != value.as_ref() {
                different.push(format!(
                    "{tree}:\n  {}\n  {}",
                    String::from_utf8_lossy(&value),
                    String::from_utf8_lossy(&written)
                ));
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} rows differ:\n{}",
        different.len(),
        different[..different.len().min(20)].join("\n")
    );
    rows
}

#[test]
fn every_row_of_a_real_continuwuity_is_decoded_and_encoded_to_the_same_bytes() {
    let (_scratch, directory) = fixture::continuwuity_19().unwrap();
    insta::assert_debug_snapshot!(rows(&directory, Dialect::Continuwuity));
}

#[test]
fn every_row_of_a_real_database_is_decoded_and_encoded_to_the_same_bytes() {
    let (_scratch, directory) = fixture::conduit_v18().unwrap();
    insta::assert_debug_snapshot!(rows(&directory, Dialect::Conduit));
}
