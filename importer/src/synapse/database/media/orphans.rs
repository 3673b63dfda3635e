//! Files of the media store that no row describes.

use std::collections::BTreeSet;

use crate::{
    dump::MediaStore,
    fs::files_below,
    hash::hash,
    tally::{Kind, Tally},
};

/// Hashes of the paths that rows describe: there may be millions.
#[derive(Debug, Default)]
pub(super) struct KnownPaths(BTreeSet<u64>);

impl KnownPaths {
    /// Whether it is new.
    pub(super) fn insert(&mut self, path: &str) -> bool {
        self.0.insert(hash(path))
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains(&hash(path))
    }
}

/// Counts files without a row as read and left out.
pub(super) fn count(store: &MediaStore, known: &KnownPaths, with_remote: bool, tally: &mut Tally) {
    let local = ("local_content", Kind::Media);
    let remote = with_remote.then_some(("remote_content", Kind::RemoteMedia));
    for root in store.roots() {
        for (folder, kind) in std::iter::once(local).chain(remote) {
            for file in files_below(&root.join(folder)) {
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        tracing::warn!("looking for files that no row describes: {error}");
                        continue;
                    }
                };
                let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy();
                if !known.has(&path) {
                    let detail = "no row describes the file, so Synapse gives it to nobody; it stays in the media store";
                    tally.read(kind, 1);
                    tally.skip(kind, path.escape_debug().to_string(), "file-without-row", detail);
                }
            }
        }
    }
}
