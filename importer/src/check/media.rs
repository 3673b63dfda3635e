//! Media files: those that were copied beforehand, and how long the others take to be copied.

use std::{fs::File, io::Read as _, time::Duration};

use rustix::fs::{Advice, fadvise};

use super::{Checks, Target, chain};
use crate::{
    dump::{MediaStore, PreparedMedia, PreparedOrigin},
    findings::codes,
    fs::{files_below, hash},
    progress::Stopwatch,
};

/// Bytes that are read at most to measure how fast that is.
const BYTES: u64 = 64 << 20;
/// Bytes of one file.
const BYTES_OF_ONE: u64 = 4 << 20;
/// When measuring ends at the latest, but for the present file.
const TIME: Duration = Duration::from_secs(2);
/// How often a migration reads a file: to copy it, and to verify both the copy and what it was made from.
const READINGS: u128 = 3;

/// Bytes of the users' files that were copied beforehand. A directory of such files that can't be used is a finding; one that
/// another importer writes can't be, if it is to be used `now`.
pub(super) fn prepared(
    checks: &mut Checks,
    target: &Target,
    origin: &PreparedOrigin,
    now: bool,
) -> u64 {
    let path = PreparedMedia::place(&target.media, &target.database);
    let look = if now { PreparedMedia::open } else { PreparedMedia::look };
    match look(&path, origin) {
        Ok(prepared) => prepared.map_or(0, |prepared| prepared.local_bytes()),
        Err(error) => {
            checks.found(&codes::PREPARED_MEDIA, path.display().to_string(), chain(&error));
            0
        }
    }
}

/// Seconds in which `bytes` of the store are copied, by what some files take to be read; an estimate from above, unless the other
/// disk is slower. `None` if there are no files to measure with, or nothing to copy.
pub fn copying_seconds(store: &MediaStore, bytes: u64) -> Option<u64> {
    let (read, time) = measure(store);
    let micros = u128::from(bytes).saturating_mul(time.as_micros()).saturating_mul(READINGS);
    let seconds = micros.checked_div(u128::from(read))?.div_ceil(1_000_000).max(1);
    u64::try_from(seconds).ok().filter(|_| bytes > 0)
}

/// Reads and hashes the first files of the store. Gives bytes and time. Media ids are random, so these files are as good as others.
fn measure(store: &MediaStore) -> (u64, Duration) {
    let watch = Stopwatch::start();
    let mut bytes: u64 = 0;
    for root in store.roots() {
        for file in files_below(&root.join("local_content")).filter_map(Result::ok) {
            if !file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            let read = File::open(file).and_then(|file| {
                // What is in the system's memory would be read faster than the rest.
                let _only_a_hint = fadvise(&file, 0, None, Advice::DontNeed);
                hash(&mut file.take(BYTES_OF_ONE))
            });
            bytes = bytes.saturating_add(read.map_or(0, |(_, bytes)| bytes));
            if bytes >= BYTES || watch.elapsed() >= TIME {
                return (bytes, watch.elapsed());
            }
        }
    }
    (bytes, watch.elapsed())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_copied_takes_as_long_as_some_files_take_to_be_read() {
        let scratch = tempfile::tempdir().unwrap();
        let store = MediaStore::of_synapse(vec![scratch.path().to_owned()]);
        assert_eq!(copying_seconds(&store, 1_000_000), None);
        let folder = scratch.path().join("local_content/AA/bb");
        fs::create_dir_all(&folder).unwrap();
        for name in ["a", "b"] {
            fs::write(folder.join(name), vec![b'x'; 6 << 20]).unwrap();
        }
        assert_eq!(measure(&store).0, 2 * BYTES_OF_ONE);
        assert_eq!(copying_seconds(&store, 0), None);
        let [little, much] = [1, 1 << 50].map(|bytes| copying_seconds(&store, bytes).unwrap());
        assert_eq!(little, 1);
        assert!(much > 10_000, "{much}");
    }
}
