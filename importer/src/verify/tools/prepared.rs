//! Media files that were copied and hashed before the migration: which of them are read again.

use std::{
    collections::BTreeSet,
    fs::{File, Metadata},
    os::unix::fs::MetadataExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    fs::ContentHash,
    verify::{Linked, MediaComparison},
};

/// Of so many files one is read.
const ONE_IN: usize = 50;
/// So many are read at least, if there are as many.
const AT_LEAST: usize = 20;

/// Contents of prepared files that are not read: those outside of the sample.
///
/// The sample is every fiftieth content in the order of the hashes, which is random as to everything else, and the same in each
/// run.
#[derive(Debug)]
pub(in crate::verify) struct Unread<'a> {
    linked: Option<Linked<'a>>,
    contents: BTreeSet<ContentHash>,
    is_over: &'a AtomicBool,
}

impl<'a> Unread<'a> {
    /// `is_over`: nothing is to be read any more.
    pub(in crate::verify) fn of(linked: Option<Linked<'a>>, is_over: &'a AtomicBool) -> Self {
        let Some(Linked { contents, how: MediaComparison::Sample, .. }) = linked else {
            return Self { linked, contents: BTreeSet::new(), is_over };
        };
        let step = step(contents.len());
        let unread = contents.iter().enumerate().filter(|(number, _)| !number.is_multiple_of(step));
        Self { linked, contents: unread.map(|(_, hash)| *hash).collect(), is_over }
    }

    /// Whether nothing is to be read any more.
    pub(in crate::verify) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether the file in Conduit's media directory need not be read: it is the prepared one itself.
    pub(in crate::verify) fn has(&self, hash: &ContentHash, file: &Metadata) -> bool {
        let is_same = |prepared: Metadata| {
            (prepared.dev(), prepared.ino()) == (file.dev(), file.ino()) && prepared.is_file()
        };
        self.contents.contains(hash)
            && self.linked.is_some_and(|linked| {
                linked.prepared.file(hash).symlink_metadata().is_ok_and(is_same)
            })
    }

    /// The content of Synapse's file `path`, if that need not be read: it is as it was when it was hashed.
    pub(in crate::verify) fn content(&self, path: &str, file: &File) -> Option<ContentHash> {
        let now = file.metadata().ok()?;
        let hash = self.linked?.prepared.content(path, &now)?;
        self.contents.contains(&hash).then_some(hash)
    }

    /// Whether a content was copied beforehand, be it in the sample or not.
    pub(in crate::verify) fn is_prepared(&self, hash: &ContentHash) -> bool {
        self.linked.is_some_and(|linked| linked.contents.contains(hash))
    }
}

/// Of how many contents one is read.
fn step(contents: usize) -> usize {
    (contents / AT_LEAST).clamp(1, ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn one_in_fifty_is_read_and_twenty_at_least() {
        let read = |contents: usize| contents.div_ceil(step(contents));
        for (contents, expected) in [
            (0, 0),
            (1, 1),
            (20, 20),
            (39, 39),
            (40, 20),
            (1_000, 20),
            (1_050, 21),
            (100_000, 2_000),
        ] {
            assert_eq!(read(contents), expected, "{contents}");
        }
        assert!((20..10_000).all(|contents| read(contents) >= 20));
    }
}
