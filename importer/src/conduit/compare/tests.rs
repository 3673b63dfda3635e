use super::*;
use crate::conduit::{
    schema::{
        shapes::{Room, User},
        trees,
    },
    store::{KvLoad as _, Row, memory::MemoryStore},
};

/// A database with an account, an alias and a number of joined users.
fn store(account: Option<&str>, joined: Option<&[u8]>) -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut rows =
        vec![Row { tree: &trees::ALIAS_ROOMID, key: b"lobby".to_vec(), value: b"!r:x".to_vec() }];
    rows.extend(account.map(|password| Row {
        tree: &trees::USERID_PASSWORD,
        key: trees::USERID_PASSWORD.key_of(&User { user: "@a:x" }),
        value: password.into(),
    }));
    rows.extend(joined.map(|number| Row {
        tree: &trees::ROOMID_JOINEDCOUNT,
        key: trees::ROOMID_JOINEDCOUNT.key_of(&Room { room: "!r:x" }),
        value: number.to_vec(),
    }));
    store.write(rows).unwrap();
    store
}

fn compared(first: &MemoryStore, second: &MemoryStore, most: u64) -> (String, Compared) {
    let mut out = Vec::new();
    let compared = compare(first, second, None, false, most, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), compared)
}

#[test]
fn equal_databases_have_no_differences() {
    let store = || store(Some("*"), Some(&1_u64.to_be_bytes()));
    let (text, compared) = compared(&store(), &store(), 9);
    assert_eq!((text.as_str(), compared), ("", Compared { rows: 3, differences: 0 }));
}

#[test]
fn rows_that_one_lacks_and_other_values_are_shown_decoded() {
    let first = store(Some("*"), Some(&1_u64.to_be_bytes()));
    let second = store(None, Some(&2_u64.to_be_bytes()));
    let (text, all) = compared(&first, &second, 9);
    insta::assert_snapshot!(text, @r#"
    {"first":{"number":1},"key":{"room":"!r:x"},"second":{"number":2},"tree":"roomid_joinedcount"}
    {"first":{"hash":"<secret>"},"key":{"user":"@a:x"},"tree":"userid_password"}
    "#);
    assert_eq!(all, Compared { rows: 3, differences: 2 });
    let (text, _) = compared(&second, &first, 9);
    insta::assert_snapshot!(text, @r#"
    {"first":{"number":2},"key":{"room":"!r:x"},"second":{"number":1},"tree":"roomid_joinedcount"}
    {"key":{"user":"@a:x"},"second":{"hash":"<secret>"},"tree":"userid_password"}
    "#);
}

#[test]
fn no_more_is_shown_than_was_asked_for() {
    let (text, compared) = compared(&store(Some("*"), None), &store(None, Some(&[1])), 1);
    assert_eq!(text.lines().count(), 1);
    assert_eq!(compared.differences, 2);
}

#[test]
fn rows_that_do_not_decode_are_compared_as_well() {
    let (text, _) = compared(&store(None, Some(&[1])), &store(None, Some(&[2])), 9);
    insta::assert_snapshot!(text, @r#"{"error":"expected u64 number","first":"<secret>","key_hex":"21723a78","second":"<secret>","tree":"roomid_joinedcount"}"#);
}

#[test]
fn one_tree_is_compared_alone() {
    let [first, second] = [store(Some("*"), None), store(None, Some(&1_u64.to_be_bytes()))];
    let mut out = Vec::new();
    let tree = Some(trees::ALIAS_ROOMID.tree());
    let compared = compare(&first, &second, tree, false, 9, &mut out).unwrap();
    assert_eq!(compared, Compared { rows: 1, differences: 0 });
}
