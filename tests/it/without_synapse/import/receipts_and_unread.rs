//! Receipts, unread counts and application services of a handmade dump, as the rows that they become.

use importer::{
    conduit::{
        schema::trees,
        store::{KvRead as _, memory::MemoryStore},
    },
    import,
    progress::Progress,
    tally::Kind,
};

use crate::helpers::handmade_dump::dump;

#[test]
fn what_is_read_and_unread_becomes_rows() {
    let (_scratch, dump) = dump();
    let mut store = MemoryStore::default();
    let imported = import::import(&dump, &mut store, None, &Progress::Hidden).unwrap();
    assert!(imported.tally.unbalanced().is_empty());
    let mut rows = Vec::new();
    for tree in [
        trees::READRECEIPTID_READRECEIPT.tree(),
        trees::ROOMUSERID_PRIVATEREAD.tree(),
        trees::ROOMUSERID_LASTPRIVATEREADUPDATE.tree(),
        trees::USERROOMID_NOTIFICATIONCOUNT.tree(),
        trees::USERROOMID_HIGHLIGHTCOUNT.tree(),
        trees::ID_APPSERVICEREGISTRATIONS.tree(),
        trees::SERVERNAME_EDUCOUNT.tree(),
    ] {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            let [key, value] =
                [tree.decode_key(&key).unwrap(), tree.decode_value(&key, &value).unwrap()].map(
                    |fields| fields.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>(),
                );
            rows.push(format!("{tree} {key:?} {value:?}"));
        }
    }
    insta::assert_snapshot!(rows.join("\n"));
    let kinds = [Kind::Receipt, Kind::UnreadCount, Kind::Appservice];
    let skipped = imported.tally.skipped.iter().filter(|skip| kinds.contains(&skip.kind));
    let skipped: Vec<_> =
        skipped.map(|skip| format!("{:?} {}: {}", skip.kind, skip.item, skip.reason)).collect();
    insta::assert_snapshot!(skipped.join("\n"));
}
