//! Media: a file without all its rows counts as another server's, and is deleted when nobody looks at it
//! (src/database/key_value/media.rs:1277-1323).

use crate::{
    conduit::{
        schema::{
            dialect::Dialect,
            media_name,
            shapes::{
                AuthenticatedFile, ContentMedia, File, Media, MediaUser, OpenFile,
                ServerLocalpartMedia,
            },
            trees,
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{lookup::get, since_import::SinceImport},
    },
};

/// Seconds of the year 5138; a time above is in milliseconds, of which Conduit makes a huge age.
const LATEST_SECONDS: u64 = 100_000_000_000;

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::SERVERNAMEMEDIAID_METADATA, &[])? {
        let (key, value) = row?;
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let (Ok(id), Ok(file)) = (tree.read_key(&key), tree.read_value(&key, &value)) else {
            continue;
        };
        let sha256 = file.sha256();
        // Conduit keeps no file of what is blocked.
        let is_blocked = store.get(&trees::BLOCKED_SERVERNAME_MEDIAID, &key)?.is_some();
        if !is_blocked && store.get(&trees::FILEHASH_METADATA, sha256)?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its file has no row");
        }
        let reverse = ContentMedia { sha256, server: id.server, media: id.media };
        if get(store, &trees::FILEHASH_SERVERNAME_MEDIAID, &reverse)?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its file does not name it");
        }
    }
    for row in store.scan(&trees::FILEHASH_SERVERNAME_MEDIAID, &[])? {
        let (key, _) = row?;
        let Ok(id) = trees::FILEHASH_SERVERNAME_MEDIAID.read_key(&key) else { continue };
        let media = Media { server: id.server, media: id.media };
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let stored = get(store, tree, &media)?;
        let file = stored.as_deref().and_then(|value| tree.read_value(&[], value).ok());
        if file.as_ref().map(File::sha256) != Some(id.sha256) {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&media), "is not the file that names it");
        }
    }
    uploaders(store, found)?;
    if store.dialect() == Dialect::Continuwuity {
        by_id(store, found)?;
    }
    for row in store.scan(&trees::FILEHASH_METADATA, &[])? {
        let (key, value) = row?;
        let Ok(file) = trees::FILEHASH_METADATA.read_value(&key, &value) else { continue };
        if file.created_seconds.max(file.last_access_seconds) > LATEST_SECONDS {
            found.add(
                &codes::MEDIA_ROWS_MISSING,
                format!("file {}", hex::encode(&key)),
                "its times are no seconds",
            );
        }
    }
    Ok(())
}

/// Continuwuity's row of an original says the same as Conduit's, and there is one for each.
fn by_id(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    // Continuwuity deletes its own rows of a file alone, and stores new files without Conduit's.
    if SinceImport::read(store)?.has_run() {
        return Ok(());
    }
    let tree = &trees::SERVERNAMEMEDIAID_METADATA;
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        let (Ok(id), Ok(file)) = (tree.read_key(&key), tree.read_value(&key, &value)) else {
            continue;
        };
        let mxc = mxc(&id);
        let (File::Authenticated(AuthenticatedFile { filename, content_type, .. })
        | File::Open(OpenFile { filename, content_type, .. })) = file;
        let expected = media_name::key(&mxc, filename, content_type);
        let mut keys = Vec::new();
        for row in store.scan(&trees::MEDIAID_FILE, &media_name::prefix(&mxc))? {
            keys.push(row?.0);
        }
        if !matches!(&*keys, [key] if **key == *expected) {
            found.add(&codes::MEDIA_ROWS_MISSING, &mxc, "its row in `mediaid_file` differs");
        }
        let user = get(store, &trees::SERVERNAMEMEDIAID_USERLOCALPART, &id)?;
        if let Some(localpart) = user.as_deref().and_then(|user| std::str::from_utf8(user).ok()) {
            let user = format!("@{localpart}:{}", id.server);
            let key = MediaUser { mxc: &mxc, user: &user };
            if get(store, &trees::MEDIAID_USER, &key)?.as_deref() != Some(user.as_bytes()) {
                found.add(
                    &codes::MEDIA_ROWS_MISSING,
                    &mxc,
                    "its uploader has no row in `mediaid_user`",
                );
            }
        }
    }
    for row in store.scan(&trees::MEDIAID_FILE, &[])? {
        let (key, _) = row?;
        let Ok(file) = trees::MEDIAID_FILE.read_key(&key) else { continue };
        let id = file.mxc.strip_prefix("mxc://").and_then(|id| id.split_once('/'));
        let (server, media) = id.unwrap_or_default();
        if get(store, tree, &Media { server, media })?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, file.mxc, "is a file that nothing else names");
        }
    }
    Ok(())
}

/// The two rows of an uploader name each other.
fn uploaders(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    let (by_id, by_user) =
        (&trees::SERVERNAMEMEDIAID_USERLOCALPART, &trees::SERVERNAME_USERLOCALPART_MEDIAID);
    for row in store.scan(by_id, &[])? {
        let (key, value) = row?;
        let (Ok(id), Ok(user)) = (by_id.read_key(&key), by_id.read_value(&key, &value)) else {
            continue;
        };
        let Media { server, media } = id;
        let reverse = ServerLocalpartMedia { server, localpart: user.localpart, media };
        if get(store, by_user, &reverse)?.is_none() {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "its uploader does not name it");
        }
    }
    for row in store.scan(by_user, &[])? {
        let (key, _) = row?;
        let Ok(ServerLocalpartMedia { server, localpart, media }) = by_user.read_key(&key) else {
            continue;
        };
        let id = Media { server, media };
        let stored = get(store, by_id, &id)?;
        if stored.as_deref() != Some(localpart.as_bytes()) {
            found.add(&codes::MEDIA_ROWS_MISSING, mxc(&id), "names another uploader");
        }
    }
    Ok(())
}

/// A media id as a URI.
pub(in crate::verify) fn mxc(id: &Media<'_>) -> String {
    format!("mxc://{}/{}", id.server, id.media)
}
