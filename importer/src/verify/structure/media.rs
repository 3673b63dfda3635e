//! Media: a file without all its rows counts as another server's, and is deleted when nobody looks at it
//! (src/database/key_value/media.rs:1277-1323).

use crate::{
    conduit::{
        schema::{
            layout::{Fields, Part, Value},
            trees,
        },
        store::KvStore,
    },
    findings::{codes, collector::Found},
    verify::VerifyError,
};

/// Seconds of the year 5138; a time above is in milliseconds, of which Conduit makes a huge age.
const LATEST_SECONDS: u64 = 100_000_000_000;

pub(in crate::verify) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    for row in store.scan(&trees::SERVERNAMEMEDIAID_METADATA, &[])? {
        let (key, value) = row?;
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let (Ok(id), Ok(file)) = (tree.decode_key(&key), tree.decode_value(&key, &value)) else {
            continue;
        };
        let Some(hash) = hash(&file) else { continue };
        // Conduit keeps no file of what is blocked.
        let is_blocked = store.get(&trees::BLOCKED_SERVERNAME_MEDIAID, &key)?.is_some();
        if !is_blocked && store.get(&trees::FILEHASH_METADATA, hash)?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its file has no row");
        }
        let parts =
            [Part::Bytes(hash), Part::Text(id.text("server")), Part::Text(id.text("media"))];
        let reverse = trees::FILEHASH_SERVERNAME_MEDIAID.key(&parts);
        if store.get(&trees::FILEHASH_SERVERNAME_MEDIAID, &reverse)?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its file does not name it");
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
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "is not the file that names it");
        }
    }
    uploaders(store, found)?;
    for row in store.scan(&trees::FILEHASH_METADATA, &[])? {
        let (key, value) = row?;
        let Ok(file) = trees::FILEHASH_METADATA.decode_value(&key, &value) else { continue };
        if file.u64("created_seconds").max(file.u64("last_access_seconds")) > LATEST_SECONDS {
            found.add(
                &codes::MEDIA_ROWS_MISSING,
                format!("file {}", hex::encode(&key)),
                "its times are no seconds",
            );
        }
    }
    Ok(())
}

/// The two rows of an uploader name each other.
fn uploaders(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let (by_id, by_user) =
        (&trees::SERVERNAMEMEDIAID_USERLOCALPART, &trees::SERVERNAME_USERLOCALPART_MEDIAID);
    for row in store.scan(by_id, &[])? {
        let (key, value) = row?;
        let (Ok(id), Ok(user)) = (by_id.decode_key(&key), by_id.decode_value(&key, &value)) else {
            continue;
        };
        let parts = [id.text("server"), user.text("localpart"), id.text("media")].map(Part::Text);
        if store.get(by_user, &by_user.key(&parts))?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its uploader does not name it");
        }
    }
    for row in store.scan(by_user, &[])? {
        let (key, _) = row?;
        let Ok(id) = by_user.decode_key(&key) else { continue };
        let parts = [id.text("server"), id.text("media")].map(Part::Text);
        let stored = store.get(by_id, &by_id.key(&parts))?;
        if stored.as_deref() != Some(id.text("localpart").as_bytes()) {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "names another uploader");
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

pub(in crate::verify) fn mxc(id: &Fields<'_>) -> String {
    format!("mxc://{}/{}", id.text("server"), id.text("media"))
}
