//! Every row by itself, and the rows of `global`.

use std::collections::BTreeMap;

use ruma::signatures::Ed25519KeyPair;

use crate::{
    conduit::{
        schema::{
            shapes::UserRoom,
            trees::{self, DecodeError, Tree},
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{lookup::get, since_import::SinceImport},
    },
};

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

/// Checks the trees that there are and the rows of `global`. Returns the counter, 0 if there is none.
pub(in crate::verify) fn check(
    store: &dyn KvRead,
    since: SinceImport,
    found: &mut Findings,
) -> Result<u64, VerifyError> {
    let known = |name: &String| trees::PATCHED.contains(&name.as_str());
    for name in store.foreign_trees()?.into_iter().filter(|name| !known(name)) {
        let text = "Conduit does not know this tree and leaves it alone";
        found.add(&codes::TREE_UNKNOWN, name, text);
    }
    for row in store.misplaced()? {
        found.add(&codes::ROWS_DISAGREE, row, "stands where the server does not read it");
    }
    if since.has_run() {
        let text =
            "Conduit has run on this database since the import; new items are reported as such";
        found.add(&codes::NEW_SINCE_IMPORT, "the database", text);
    }
    for marker in store.dialect().markers().iter().filter(|_| since.is_imported()) {
        if store.get(&trees::GLOBAL, marker.as_bytes())?.is_none() {
            found.add(&codes::REPAIR_MARK_MISSING, format!("global {marker}"), "is missing");
        }
    }
    global(store, found)
}

/// Rows of a tree, and how many bytes their keys and values have.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::verify) struct Amount {
    rows: u64,
    bytes: u64,
}

impl Amount {
    /// Counts a row, and judges it by its largest number of the counter's, if it decodes.
    pub(in crate::verify) fn add(
        &mut self,
        tree: &'static Tree,
        (key, value): (&[u8], &[u8]),
        largest: Result<u64, DecodeError>,
        counter: u64,
        found: &mut Findings,
    ) {
        self.rows += 1;
        let length = key.len() + value.len();
        self.bytes += u64::try_from(length).unwrap_or(u64::MAX);
        match largest {
            Ok(largest) if largest > counter && tree != &trees::BACKUPID_ETAG => {
                let text = format!("{largest} is above the counter {counter}");
                found.add(&codes::NUMBER_ABOVE_COUNTER, tree.name, text);
            }
            Ok(_) => {}
            Err(error) => found.add(&codes::ROW_UNDECODABLE, tree.name, error.to_string()),
        }
    }
}

impl Trees {
    /// Adds what a part of a tree has.
    pub(in crate::verify) fn add(&mut self, tree: &'static Tree, amount: Amount) {
        if amount.rows > 0 {
            let rows = self.rows.entry(tree.name).or_default();
            *rows += amount.rows;
            let bytes = self.bytes.entry(tree.name).or_default();
            *bytes += amount.bytes;
        }
    }
}

/// The largest number that comes from the counter, of a row of any tree.
pub(in crate::verify) fn largest(
    tree: &'static Tree,
    key: &[u8],
    value: &[u8],
) -> Result<u64, DecodeError> {
    tree.largest(key, value, &COUNTED)
}

/// The counter; 0 if there is none.
fn global(store: &dyn KvRead, found: &mut Findings) -> Result<u64, VerifyError> {
    let number = |key: &[u8]| -> Result<Option<u64>, VerifyError> {
        let value = store.get(&trees::GLOBAL, key)?;
        Ok(value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
    };
    let version = store.dialect().version();
    if number(b"version")? != Some(version) {
        found.add(&codes::GLOBAL_INCOMPLETE, "global version", format!("is not {version}"));
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
    store: &dyn KvRead,
) -> Result<Option<(String, Vec<u8>)>, VerifyError> {
    let Some(value) = store.get(&trees::GLOBAL, b"keypair")? else { return Ok(None) };
    let mut parts = value.splitn(2, |byte| *byte == 0xff);
    let (Some(version), Some(der)) = (parts.next(), parts.next()) else { return Ok(None) };
    let Ok(version) = std::str::from_utf8(version) else { return Ok(None) };
    let Ok(pair) = Ed25519KeyPair::from_der(der, version.to_owned()) else { return Ok(None) };
    Ok(Some((format!("ed25519:{version}"), pair.public_key().to_vec())))
}

pub(in crate::verify) fn admin_room(
    store: &dyn KvRead,
    server_name: &str,
    found: &mut Findings,
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
    let key = UserRoom { user: &server, room: &room };
    if get(store, &trees::USERROOMID_JOINED, &key)?.is_none() {
        found.add(
            &codes::ADMIN_ROOM_MISSING,
            &server,
            format!("has not joined the admin room {room}"),
        );
    }
    Ok(())
}
