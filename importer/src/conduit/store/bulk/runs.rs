//! Sorted rows of one tree in a file, and all of them merged.
//!
//! A row in the file: how many bytes its key has in common with the key before it in the run (u8), how many follow (u32), the
//! value's length (u32), big endian; then these bytes of the key, and the value.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use super::Rows;
use crate::conduit::schema::trees::Tree;

/// Bytes of a run that are read at once.
const READ: usize = 32 << 10;
/// Bytes that are written at once.
const WRITE: usize = 256 << 10;

/// Runs of a tree, one after another in a file that is gone when it is closed.
#[derive(Debug)]
pub(super) struct Runs {
    file: Arc<File>,
    /// Where each run ends.
    ends: Vec<u64>,
}

impl Runs {
    /// Makes an empty file in the directory.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile_in(directory)?), ends: Vec::new() })
    }

    /// Begins to sort rows and to append them; gives the end of the run, for [`Self::ends_at`].
    pub(super) fn write(&self, mut rows: Rows) -> io::Result<JoinHandle<io::Result<u64>>> {
        let file = Arc::clone(&self.file);
        std::thread::Builder::new().name("run".into()).spawn(move || {
            rows.sort();
            let mut file = BufWriter::with_capacity(WRITE, &*file);
            let mut last: &[u8] = &[];
            for (key, value) in rows.iter() {
                let pairs = last.iter().zip(key).take(u8::MAX.into());
                let shared = pairs.take_while(|(a, b)| a == b).count();
                let rest = key.get(shared..).unwrap_or_default();
                file.write_all(&[u8::try_from(shared).unwrap_or_default()])?;
                file.write_all(&length(rest)?)?;
                file.write_all(&length(value)?)?;
                file.write_all(rest)?;
                file.write_all(value)?;
                last = key;
            }
            file.stream_position()
        })
    }

    /// Takes note of a run that was written.
    pub(super) fn ends_at(&mut self, end: u64) {
        self.ends.push(end);
    }
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len());
    Ok(length.map_err(|_| io::Error::other("a row of more than 4 GiB"))?.to_be_bytes())
}

/// Rows of a tree in the order of their keys.
#[derive(Debug)]
pub(in crate::conduit::store) struct Sorted {
    tree: &'static Tree,
    size: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Rows that were never written, and how many were given. They are sorted when the first is asked for.
    Held(Rows, usize),
    Merged(Merged),
}

impl Sorted {
    pub(super) fn of(rows: Rows) -> Self {
        let size = u64::try_from(rows.size()).unwrap_or(u64::MAX);
        Self { tree: rows.tree, size, source: Source::Held(rows, 0) }
    }

    pub(super) fn merged(tree: &'static Tree, runs: &Runs) -> io::Result<Self> {
        let size = runs.ends.last().copied().unwrap_or_default();
        Ok(Self { tree, size, source: Source::Merged(Merged::new(runs)?) })
    }

    pub(in crate::conduit::store) fn tree(&self) -> &'static Tree {
        self.tree
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next key and its last value.
    pub(in crate::conduit::store) fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        match &mut self.source {
            Source::Held(rows, given) => {
                if *given == 0 {
                    rows.sort();
                }
                Ok(rows.next(given))
            }
            Source::Merged(merged) => merged.next(),
        }
    }
}

/// Several runs as one.
#[derive(Debug)]
struct Merged {
    /// The run with the next row on top.
    runs: BinaryHeap<Run>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Merged {
    fn new(runs: &Runs) -> io::Result<Self> {
        let starts = [0].into_iter().chain(runs.ends.iter().copied());
        let mut heap = BinaryHeap::new();
        for (number, (at, end)) in starts.zip(runs.ends.iter().copied()).enumerate() {
            let part = Part { file: Arc::clone(&runs.file), at, end };
            let file = BufReader::with_capacity(READ, part);
            let mut run = Run { number, file, key: Vec::new(), value: Vec::new() };
            if run.advance(&[])? {
                heap.push(run);
            }
        }
        Ok(Self { runs: heap, key: Vec::new(), value: Vec::new() })
    }

    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        loop {
            let Some(mut run) = self.runs.peek_mut() else { return Ok(None) };
            std::mem::swap(&mut self.key, &mut run.key);
            std::mem::swap(&mut self.value, &mut run.value);
            if run.advance(&self.key)? {
                drop(run);
            } else {
                PeekMut::pop(run);
            }
            // Of one key, the row of the last run comes last.
            if self.runs.peek().is_none_or(|next| next.key != self.key) {
                return Ok(Some((&self.key, &self.value)));
            }
        }
    }
}

/// A run and its next row.
#[derive(Debug)]
struct Run {
    number: usize,
    file: BufReader<Part>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Run {
    /// Reads the next row, which came after one with the key `last`; false at the end.
    fn advance(&mut self, last: &[u8]) -> io::Result<bool> {
        let mut shared = [0];
        if self.file.read(&mut shared)? == 0 {
            return Ok(false);
        }
        let mut rest = [0; 4];
        let mut value = [0; 4];
        self.file.read_exact(&mut rest)?;
        self.file.read_exact(&mut value)?;
        let [rest, value] = [rest, value].map(u32::from_be_bytes);
        let [shared] = shared.map(usize::from);
        self.key.clear();
        self.key.extend_from_slice(last.get(..shared).unwrap_or_default());
        fill(&mut self.file, &mut self.key, rest)?;
        self.value.clear();
        fill(&mut self.file, &mut self.value, value)?;
        Ok(true)
    }
}

/// Appends this many bytes of a file.
fn fill(file: &mut impl Read, to: &mut Vec<u8>, bytes: u32) -> io::Result<()> {
    let start = to.len();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    to.resize(start.saturating_add(bytes), 0);
    file.read_exact(to.get_mut(start..).unwrap_or_default())
}

/// The one with the lower key is the greater one, as a heap gives the greatest first; of one key, the earlier run.
impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.number).cmp(&(&self.key, self.number))
    }
}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Run {}

/// A part of a file that others read, too.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = to.len().min(left);
        let read = self.file.read_at(to.get_mut(..wanted).unwrap_or_default(), self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::schema::trees;

    /// Two runs of a thousand rows with the same keys, the second of which says something else of every other key.
    fn runs(directory: &Path) -> Runs {
        let mut runs = Runs::new(directory).unwrap();
        for (step, value) in [(1, "first"), (2, "second")] {
            let mut rows = Rows::new(&trees::TOKENIDS);
            for number in (0..1000).rev().step_by(step) {
                rows.push(format!("{number}").as_bytes(), value.as_bytes());
            }
            let end = runs.write(rows).unwrap().join().unwrap().unwrap();
            runs.ends_at(end);
        }
        runs
    }

    #[test]
    fn the_last_run_wins() {
        let scratch = tempfile::tempdir().unwrap();
        let mut sorted = Sorted::merged(&trees::TOKENIDS, &runs(scratch.path())).unwrap();
        let mut expected: Vec<_> = (0..1000).map(|number: u32| number.to_string()).collect();
        expected.sort();
        for number in expected {
            let odd = number.parse::<u32>().unwrap() % 2 == 1;
            let row = (number.as_bytes(), if odd { &b"second"[..] } else { b"first" });
            assert_eq!(sorted.next().unwrap(), Some(row));
        }
        assert_eq!(sorted.next().unwrap(), None);
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let runs = runs(scratch.path());
        let end = runs.ends.last().copied().unwrap();
        // In the middle of a row, and between two of them.
        for cut in [end - 1, runs.ends[0]] {
            runs.file.set_len(cut).unwrap();
            let error = Sorted::merged(&trees::TOKENIDS, &runs)
                .and_then(|mut sorted| {
                    while sorted.next()?.is_some() {}
                    Ok(())
                })
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
