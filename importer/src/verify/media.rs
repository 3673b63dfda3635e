//! Media: a file without all its rows counts as another server's, and is deleted when nobody looks at it
//! (src/database/key_value/media.rs:1277-1323).

use super::{VerifyError, found::Found};
use crate::conduit::{
    kv::KvStore,
    layout::{Fields, Part, Value},
    trees,
};

/// Seconds of the year 5138; a time above is in milliseconds, of which Conduit makes a huge age.
const LATEST_SECONDS: u64 = 100_000_000_000;

pub(super) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    for row in store.scan(&trees::SERVERNAMEMEDIAID_METADATA, &[])? {
        let (key, value) = row?;
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let (Ok(id), Ok(file)) = (tree.decode_key(&key), tree.decode_value(&key, &value)) else {
            continue;
        };
        let Some(hash) = hash(&file) else { continue };
        if store.get(&trees::FILEHASH_METADATA, hash)?.is_none() {
            found.error("V124", mxc(&id), "its file has no row");
        }
        let parts =
            [Part::Bytes(hash), Part::Text(id.text("server")), Part::Text(id.text("media"))];
        let reverse = trees::FILEHASH_SERVERNAME_MEDIAID.key(&parts);
        if store.get(&trees::FILEHASH_SERVERNAME_MEDIAID, &reverse)?.is_none() {
            found.error("V124", mxc(&id), "its file does not name it");
        }
    }
    for row in store.scan(&trees::FILEHASH_SERVERNAME_MEDIAID, &[])? {
        let (key, _) = row?;
        let Ok(id) = trees::FILEHASH_SERVERNAME_MEDIAID.decode_key(&key) else { continue };
        let parts = [Part::Text(id.text("server")), Part::Text(id.text("media"))];
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let stored = store.get(tree, &tree.key(&parts))?;
        let file = stored.as_deref().and_then(|value| tree.decode_value(&[], value).ok());
        if file.as_ref().and_then(hash) != hash(&id) {
            found.error("V124", mxc(&id), "is not the file that names it");
        }
    }
    for row in store.scan(&trees::FILEHASH_METADATA, &[])? {
        let (key, value) = row?;
        let Ok(file) = trees::FILEHASH_METADATA.decode_value(&key, &value) else { continue };
        if file.u64("created_seconds").max(file.u64("last_access_seconds")) > LATEST_SECONDS {
            found.error("V124", format!("file {}", hex::encode(&key)), "its times are no seconds");
        }
    }
    Ok(())
}

fn hash<'a>(fields: &Fields<'a>) -> Option<&'a [u8]> {
    match fields.get("sha256") {
        Some(Value::Bytes(hash)) => Some(hash),
        _ => None,
    }
}

fn mxc(id: &Fields<'_>) -> String {
    format!("mxc://{}/{}", id.text("server"), id.text("media"))
}
