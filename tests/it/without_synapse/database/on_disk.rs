//! The table of layouts against a database that a real Conduit wrote.

use std::collections::BTreeMap;

use importer::conduit::{
    schema::{
        layout::{Layout, Value},
        trees::{self, TREES, Tree},
    },
    store::{self, Backend},
};
use migration_tests::fixture;

use crate::helpers::json_order;

/// Decodes bytes and encodes them again, JSON from its parsed form.
fn again(
    tree: &Tree,
    layout: Layout,
    encode: impl Fn(&[importer::conduit::schema::layout::Part<'_>]) -> Vec<u8>,
    bytes: &[u8],
) -> Vec<u8> {
    let fields = layout.decode(bytes).unwrap_or_else(|e| panic!("{tree}: {e}: {}", hex(bytes)));
    let Some(order) = layout.json_order().filter(|_| fields.get("json").is_some()) else {
        return encode(&fields.parts());
    };
    let Some(Value::Text(text)) = fields.get("json") else { panic!("{tree}: JSON is no text") };
    let text = json_order::rewrite(text, order).unwrap_or_else(|e| panic!("{tree}: {e}"));
    encode(&[text.as_str().into()])
}

fn hex(bytes: &[u8]) -> String {
    format!("{bytes:02x?}")
}

#[test]
fn every_row_of_a_real_database_is_decoded_and_encoded_to_the_same_bytes() {
    let (_scratch, directory) = fixture::conduit_v18().unwrap();
    assert_eq!(store::detect(&directory), Some(Backend::Rocksdb));
    let store = store::read(Backend::Rocksdb, &directory).unwrap();
    assert_eq!(store.foreign_trees().unwrap(), Vec::<String>::new());
    let mut rows = BTreeMap::new();
    let mut different = Vec::new();
    for tree in TREES {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            *rows.entry(tree.name).or_insert(0) += 1;
            // `global` has fixed keys, which are not given when encoding; its key decides the value.
            if tree != &trees::GLOBAL {
                assert_eq!(again(tree, tree.key, |p| tree.key(p), &key), key.as_ref(), "{tree}");
            }
            let written = again(tree, tree.value, |p| tree.value(p), &value);
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
    insta::assert_debug_snapshot!(rows);
}
