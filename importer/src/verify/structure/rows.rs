//! Every row by itself, and the rows of `global`.

use std::collections::BTreeMap;

use ruma::signatures::Ed25519KeyPair;

use crate::{
    conduit::{
        schema::{
            layout::{Fields, Part, Value},
            trees::{self, DecodeError, TREES},
        },
        store::KvStore,
    },
    findings::{codes, collector::Found},
    verify::{
        VerifyError,
        tools::{parallel_scan, since_import::SinceImport},
    },
};

/// The version that Conduit starts on without a migration.
const VERSION: u64 = 18;
/// Fields that come from the one counter.
const COUNTED: [&str; 8] = [
    "count",
    "short_room",
    "short_event",
    "short_state_key",
    "short_state_hash",
    "parent",
    "to_count",
    "from_count",
];

/// How much there is, by tree; nothing for empty ones.
#[derive(Debug, Default)]
pub(in crate::verify) struct Trees {
    pub(in crate::verify) rows: BTreeMap<&'static str, u64>,
    /// Of keys and values.
    pub(in crate::verify) bytes: BTreeMap<&'static str, u64>,
}

/// Decodes everything; counts rows and bytes by tree.
pub(in crate::verify) fn check(
    store: &dyn KvStore,
    server_name: &str,
    since: SinceImport,
    found: &mut Found,
) -> Result<Trees, VerifyError> {
    let known = |name: &String| trees::PATCHED.contains(&name.as_str());
    for name in store.foreign_trees()?.into_iter().filter(|name| !known(name)) {
        found.add(
            &codes::TREE_UNKNOWN,
            name,
            "Conduit does not know this tree and leaves it alone",
        );
    }
    let counter = global(store, found)?;
    if since.has_run() {
        let text =
            "Conduit has run on this database since the import; new items are reported as such";
        found.add(&codes::NEW_SINCE_IMPORT, "the database", text);
    }
    for key in trees::REPAIRED.iter().filter(|_| since.is_imported()) {
        if store.get(&trees::GLOBAL, key)?.is_none() {
            found.add(
                &codes::REPAIR_MARK_MISSING,
                format!("global {}", String::from_utf8_lossy(key)),
                "is missing",
            );
        }
    }
    let mut trees = Trees::default();
    for tree in TREES {
        let (mut number, mut bytes): (u64, u64) = (0, 0);
        let look = |key: &[u8], value: &[u8]| -> Result<u64, DecodeError> {
            let key_fields = tree.decode_key(key)?;
            let value_fields = tree.decode_value(key, value)?;
            Ok([key_fields, value_fields].iter().filter_map(highest).max().unwrap_or(0))
        };
        parallel_scan::scan(store, tree, &[], look, |key, value, highest| {
            number = number.saturating_add(1);
            let length = key.len().saturating_add(value.len());
            bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            match highest {
                Ok(highest) if highest > counter && tree != &trees::BACKUPID_ETAG => {
                    let text = format!("{highest} is above the counter {counter}");
                    found.add(&codes::NUMBER_ABOVE_COUNTER, tree.name, text);
                }
                Ok(_) => {}
                Err(error) => found.add(&codes::ROW_UNDECODABLE, tree.name, error.to_string()),
            }
            Ok(())
        })?;
        if number > 0 {
            trees.rows.insert(tree.name, number);
            trees.bytes.insert(tree.name, bytes);
        }
    }
    admin_room(store, server_name, found)?;
    Ok(trees)
}

fn highest(fields: &Fields<'_>) -> Option<u64> {
    fields
        .iter()
        .filter(|(name, _)| COUNTED.contains(name))
        .filter_map(|(_, value)| if let Value::U64(number) = value { Some(*number) } else { None })
        .max()
}

/// The counter; 0 if there is none.
fn global(store: &dyn KvStore, found: &mut Found) -> Result<u64, VerifyError> {
    let number = |key: &[u8]| -> Result<Option<u64>, VerifyError> {
        let value = store.get(&trees::GLOBAL, key)?;
        Ok(value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
    };
    if number(b"version")? != Some(VERSION) {
        found.add(&codes::GLOBAL_INCOMPLETE, "global version", "is not 18");
    }
    let counter = number(b"c")?;
    if counter.is_none() {
        found.add(&codes::GLOBAL_INCOMPLETE, "global c", "is missing");
    }
    if public_key(store)?.is_none() {
        found.add(&codes::GLOBAL_INCOMPLETE, "global keypair", "is missing or no ed25519 key");
    }
    Ok(counter.unwrap_or(0))
}

/// The server's key id and public key.
pub(in crate::verify) fn public_key(
    store: &dyn KvStore,
) -> Result<Option<(String, Vec<u8>)>, VerifyError> {
    let Some(value) = store.get(&trees::GLOBAL, b"keypair")? else { return Ok(None) };
    let mut parts = value.splitn(2, |byte| *byte == 0xff);
    let (Some(version), Some(der)) = (parts.next(), parts.next()) else { return Ok(None) };
    let Ok(version) = std::str::from_utf8(version) else { return Ok(None) };
    let Ok(pair) = Ed25519KeyPair::from_der(der, version.to_owned()) else { return Ok(None) };
    Ok(Some((format!("ed25519:{version}"), pair.public_key().to_vec())))
}

fn admin_room(
    store: &dyn KvStore,
    server_name: &str,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let server = format!("@conduit:{server_name}");
    if store.get(&trees::USERID_PASSWORD, server.as_bytes())?.is_none() {
        found.add(&codes::ADMIN_ROOM_MISSING, &server, "has no row; Conduit refuses to start");
    }
    let room = store.get(&trees::ALIAS_ROOMID, b"admins")?.and_then(|r| String::from_utf8(r).ok());
    let Some(room) = room else {
        found.add(&codes::ADMIN_ROOM_MISSING, format!("#admins:{server_name}"), "names no room");
        return Ok(());
    };
    let key = trees::USERROOMID_JOINED.key(&[Part::Text(&server), Part::Text(&room)]);
    if store.get(&trees::USERROOMID_JOINED, &key)?.is_none() {
        found.add(
            &codes::ADMIN_ROOM_MISSING,
            &server,
            format!("has not joined the admin room {room}"),
        );
    }
    Ok(())
}
