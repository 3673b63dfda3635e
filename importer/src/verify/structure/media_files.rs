//! The media directory against the rows: every file is there with the content that names it, and none is without a row. Of files
//! that were copied before the migration, a sample is read; the others have the size that their row says.
//!
//! Conduit names a file by its content. Continuwuity has a name for each media id, so one content has several, which are links to
//! one file or copies.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::media::mxc;
use crate::{
    conduit::{
        schema::{dialect::Dialect, media_name, shapes::Media, trees},
        store::KvRead,
    },
    counted::count,
    findings::{codes, codes::Code, collector::Findings},
    fs::{ContentDirectory, ContentHash, files_below, hash},
    hash::hash as hash_of,
    progress::Progress,
    verify::{VerifyError, tools::prepared::Unread},
};

/// Files that are read at a time.
const CHUNK: usize = 512;

/// The content and size of a file, by its row in `filehash_metadata`, and what it is called.
struct Named {
    hash: ContentHash,
    bytes: u64,
    paths: Vec<PathBuf>,
}

/// Where a content should be.
fn paths(
    store: &dyn KvRead,
    directory: &ContentDirectory,
    hash: &ContentHash,
) -> Result<Vec<PathBuf>, VerifyError> {
    if store.dialect() == Dialect::Conduit {
        return Ok(vec![directory.file(hash)]);
    }
    let mut paths = Vec::new();
    for row in store.scan(&trees::FILEHASH_SERVERNAME_MEDIAID, hash.as_bytes())? {
        let (key, _) = row?;
        let Ok(id) = trees::FILEHASH_SERVERNAME_MEDIAID.read_key(&key) else { continue };
        let mxc = mxc(&Media { server: id.server, media: id.media });
        for row in store.scan(&trees::MEDIAID_FILE, &media_name::prefix(&mxc))? {
            let (key, _) = row?;
            paths.push(directory.path().join(media_name::on_disk(&key)));
        }
    }
    Ok(paths)
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    directory: &ContentDirectory,
    unread: &Unread<'_>,
    progress: Progress,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let total = store.scan(&trees::FILEHASH_METADATA, &[])?.count();
    if total > 0 && !directory.path().is_dir() {
        let path = directory.path().display().to_string();
        found.add(
            &codes::MEDIA_FILE_MISSING,
            path,
            format!("the media directory is not there; it should have {}", count(total, "file")),
        );
        return Ok(());
    }
    let phase = progress.phase("file", total);
    let mut rows = store.scan(&trees::FILEHASH_METADATA, &[])?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        for row in rows.by_ref().take(CHUNK) {
            let (key, value) = row?;
            let times = trees::FILEHASH_METADATA.read_value(&key, &value);
            if let (Ok(hash), Ok(times)) = (ContentHash::try_from(&*key), times) {
                let paths = paths(store, directory, &hash)?;
                chunk.push(Named { hash, bytes: times.bytes, paths });
            }
        }
        if chunk.is_empty() || unread.is_over() {
            break;
        }
        let faults: Vec<_> =
            chunk.par_iter().flat_map_iter(|named| faults(named, unread)).collect();
        for (hash, code, text) in faults {
            found.add(&code, format!("file {hash}"), text);
        }
        phase.advance(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    drop(rows);
    without_row(store, directory, found)
}

/// What is wrong with a file under each of its names. Links to one file are read once.
fn faults(named: &Named, unread: &Unread<'_>) -> Vec<(ContentHash, Code, String)> {
    let mut seen = BTreeSet::new();
    let is_new = |path: &&PathBuf| {
        let inode = path.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        inode.is_err() || inode.is_ok_and(|inode| seen.insert(inode))
    };
    let paths: Vec<_> = named.paths.iter().filter(is_new).collect();
    paths.into_iter().filter_map(|path| fault(path, named, unread)).collect()
}

/// What is wrong with a file.
fn fault(path: &Path, named: &Named, unread: &Unread<'_>) -> Option<(ContentHash, Code, String)> {
    let read = path.symlink_metadata().and_then(|metadata| {
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        if unread.has(&named.hash, &metadata) {
            return Ok((named.hash, metadata.len()));
        }
        hash(&mut std::fs::File::open(path)?)
    });
    let wrong = if unread.is_prepared(&named.hash) {
        codes::PREPARED_FILE_WRONG
    } else {
        codes::MEDIA_FILE_WRONG
    };
    let fault = match read {
        Err(error) => (codes::MEDIA_FILE_MISSING, format!("`{}`: {error}", path.display())),
        Ok((hash, _)) if hash != named.hash => {
            (wrong, format!("`{}` has another content, {hash}", path.display()))
        }
        Ok((_, bytes)) if bytes != named.bytes => {
            (wrong, format!("has {bytes} bytes, its row says {}", named.bytes))
        }
        Ok(_) => return None,
    };
    Some((named.hash, fault.0, fault.1))
}

/// Hashes of the names that files have by their media ids, thumbnails too; `None` if they are named by their contents.
fn names_by_id(store: &dyn KvRead) -> Result<Option<BTreeSet<u64>>, VerifyError> {
    if store.dialect() == Dialect::Conduit {
        return Ok(None);
    }
    let mut names = BTreeSet::new();
    for row in store.scan(&trees::MEDIAID_FILE, &[])? {
        let (key, _) = row?;
        names.insert(hash_of(&media_name::on_disk(&key)));
    }
    Ok(Some(names))
}

fn without_row(
    store: &dyn KvRead,
    directory: &ContentDirectory,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let by_id = names_by_id(store)?;
    for file in files_below(directory.path()) {
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                let path = directory.path().display().to_string();
                found.add(
                    &codes::MEDIA_FILE_UNNAMED,
                    path,
                    format!("can't be looked through: {error}"),
                );
                continue;
            }
        };
        let below = file.strip_prefix(directory.path()).unwrap_or(&file);
        let name: String = below.iter().filter_map(|part| part.to_str()).collect();
        let hash: Option<ContentHash> = name.parse().ok();
        let is_known = match (hash.filter(|hash| directory.file(hash) == file), &by_id) {
            (Some(hash), None) => store.get(&trees::FILEHASH_METADATA, hash.as_bytes())?.is_some(),
            (_, Some(by_id)) => by_id.contains(&hash_of(&name)),
            (None, None) => false,
        };
        if !is_known {
            let path = below.to_string_lossy().escape_debug().to_string();
            found.add(
                &codes::MEDIA_FILE_UNNAMED,
                path,
                "is a file in the media directory that no row names",
            );
        }
    }
    Ok(())
}
