//! The media directory against the rows: every file is there with the content that names it, and none is without a row. Of files
//! that were copied before the migration, a sample is read; the others have the size that their row says.

use rayon::prelude::*;

use crate::{
    conduit::{schema::trees, store::KvRead},
    counted::count,
    findings::{codes, codes::Code, collector::Found},
    fs::{ContentDirectory, ContentHash, files_below, hash},
    progress::Progress,
    verify::{VerifyError, tools::prepared::Unread},
};

/// Files that are read at a time.
const CHUNK: usize = 512;

/// The content and size of a file, by its row in `filehash_metadata`.
struct Named {
    hash: ContentHash,
    bytes: u64,
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    directory: &ContentDirectory,
    unread: &Unread<'_>,
    progress: Progress,
    found: &mut Found,
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
            let fields = trees::FILEHASH_METADATA.decode_value(&key, &value);
            if let (Ok(hash), Ok(fields)) = (ContentHash::try_from(&*key), fields) {
                chunk.push(Named { hash, bytes: fields.u64("bytes") });
            }
        }
        if chunk.is_empty() {
            break;
        }
        let fault = |named: &Named| fault(directory, named, unread);
        let faults: Vec<_> = chunk.par_iter().filter_map(fault).collect();
        for (hash, code, text) in faults {
            found.add(&code, format!("file {hash}"), text);
        }
        phase.advance(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    drop(rows);
    without_row(store, directory, found)
}

/// What is wrong with a file.
fn fault(
    directory: &ContentDirectory,
    named: &Named,
    unread: &Unread<'_>,
) -> Option<(ContentHash, Code, String)> {
    let path = directory.file(&named.hash);
    let read = path.symlink_metadata().and_then(|metadata| {
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        if unread.has(&named.hash, &metadata) {
            return Ok((named.hash, metadata.len()));
        }
        hash(&mut std::fs::File::open(&path)?)
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

fn without_row(
    store: &dyn KvRead,
    directory: &ContentDirectory,
    found: &mut Found,
) -> Result<(), VerifyError> {
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
        let is_known = match hash.filter(|hash| directory.file(hash) == file) {
            Some(hash) => store.get(&trees::FILEHASH_METADATA, hash.as_bytes())?.is_some(),
            None => false,
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
