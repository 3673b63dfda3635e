//! Sorted runs of rows in a file, and all of them merged.
//!
//! A run has sections: rows that come one after the other and can be read without the others.
//!
//! A row in the file: how many bytes its key has in common with the key before it in the section (u8), how many follow (u32), the
//! value's length (u32), big endian; then these bytes of the key, and the value.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque, binary_heap::PeekMut},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write as _},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use rustix::fs::{Advice, fadvise};

use super::Rows;

/// Bytes of a run that are read at once.
const READ: usize = 32 << 10;
/// Bytes that are written at once.
const WRITE: usize = 256 << 10;
/// Bytes of a row before its key.
const HEAD: usize = 9;

/// Runs, one after another in a file that is gone when it is closed.
#[derive(Debug)]
pub(crate) struct Runs {
    file: Arc<File>,
    runs: Vec<WrittenRun>,
}

/// The sections of a run that was written, in their order.
#[derive(Debug, Default)]
pub(crate) struct WrittenRun(Vec<WrittenSection>);

/// A section of a run.
#[derive(Debug)]
struct WrittenSection {
    number: u64,
    /// Where it is in the file.
    place: Range<u64>,
    first_key: Box<[u8]>,
}

impl Runs {
    /// Makes an empty file in the directory.
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile_in(directory)?), runs: Vec::new() })
    }

    /// Begins to sort rows and to append them; gives the run for [`Self::add`]. `section` gives the section of a key: no row may have a
    /// lower one than a row with a lower key.
    pub(crate) fn write(
        &self,
        mut rows: Rows,
        section: fn(&[u8]) -> u64,
    ) -> io::Result<JoinHandle<io::Result<WrittenRun>>> {
        let file = Arc::clone(&self.file);
        std::thread::Builder::new().name("run".into()).spawn(move || {
            rows.sort();
            let mut file = BufWriter::with_capacity(WRITE, &*file);
            let mut at = file.stream_position()?;
            let mut run = WrittenRun::default();
            let mut last: &[u8] = &[];
            for (key, value) in rows.iter() {
                let number = section(key);
                if run.0.last().is_none_or(|last| last.number != number) {
                    run.0.push(WrittenSection { number, place: at..at, first_key: key.into() });
                    last = &[];
                }
                let pairs = last.iter().zip(key).take(u8::MAX.into());
                let shared = pairs.take_while(|(a, b)| a == b).count();
                let rest = key.get(shared..).unwrap_or_default();
                file.write_all(&[u8::try_from(shared).unwrap_or_default()])?;
                file.write_all(&length(rest)?)?;
                file.write_all(&length(value)?)?;
                file.write_all(rest)?;
                file.write_all(value)?;
                let written = HEAD.saturating_add(rest.len()).saturating_add(value.len());
                at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                if let Some(section) = run.0.last_mut() {
                    section.place.end = at;
                }
                last = key;
            }
            file.flush()?;
            Ok(run)
        })
    }

    /// Adds a run that was written.
    pub(crate) fn add(&mut self, run: WrittenRun) {
        self.runs.push(run);
    }

    /// Bytes of a section.
    pub(crate) fn size(&self, section: u64) -> u64 {
        self.sections(section).map(|written| size(&written.place)).sum()
    }

    /// A section of each run that has it.
    fn sections(&self, number: u64) -> impl Iterator<Item = &WrittenSection> {
        self.runs.iter().filter_map(move |WrittenRun(sections)| {
            let at = sections.binary_search_by_key(&number, |section| section.number).ok()?;
            sections.get(at)
        })
    }
}

fn size(place: &Range<u64>) -> u64 {
    place.end.saturating_sub(place.start)
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len());
    Ok(length.map_err(|_| io::Error::other("a row of more than 4 GiB"))?.to_be_bytes())
}

/// A section of several runs as one: rows in the order of their keys, of one key the row of the last run.
#[derive(Debug)]
pub(crate) struct Merged {
    /// Runs that have been begun, that with the next row on top.
    runs: BinaryHeap<Run>,
    /// Those that have not, by their first keys.
    later: VecDeque<LaterRun>,
    /// How many of these the system has been told of.
    told: usize,
    /// Bytes that it may read before they are asked for.
    ahead: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A run that has not been begun.
#[derive(Debug)]
struct LaterRun {
    number: usize,
    first_key: Box<[u8]>,
    part: Part,
}

impl Merged {
    pub(crate) fn new<'a>(all: impl IntoIterator<Item = &'a Runs>, section: u64) -> Self {
        let of_file = |runs: &'a Runs| runs.sections(section).map(move |written| (runs, written));
        let sections = all.into_iter().flat_map(of_file).enumerate();
        let later = sections.map(|(number, (runs, WrittenSection { place, first_key, .. }))| {
            let part = Part { file: Arc::clone(&runs.file), at: place.start, end: place.end };
            LaterRun { number, first_key: first_key.clone(), part }
        });
        let mut later: Vec<_> = later.collect();
        later.sort_by(|a, b| (&a.first_key, a.number).cmp(&(&b.first_key, b.number)));
        let (key, value) = (Vec::new(), Vec::new());
        let later = later.into();
        Self { runs: BinaryHeap::new(), later, told: 0, ahead: 0, key, value }
    }

    /// Lets the system read so many bytes before they are asked for. Makes sense where few runs overlap.
    pub(crate) fn read_ahead(mut self, bytes: u64) -> Self {
        self.ahead = bytes;
        self.tell();
        self
    }

    /// Tells the system of runs that come soon.
    fn tell(&mut self) {
        let mut bytes = 0_u64;
        for (number, run) in (1..).zip(&self.later) {
            bytes = bytes.saturating_add(size(&(run.part.at..run.part.end)));
            if bytes > self.ahead {
                break;
            }
            if number > self.told {
                run.part.read_ahead();
                self.told = number;
            }
        }
    }

    /// Begins the runs that may have the next row.
    fn begin(&mut self) -> io::Result<()> {
        while let Some(first) = self.later.front()
            && self.runs.peek().is_none_or(|next| *first.first_key <= *next.key)
            && let Some(LaterRun { number, part, .. }) = self.later.pop_front()
        {
            self.told = self.told.saturating_sub(1);
            let file = BufReader::with_capacity(READ, part);
            let mut run = Run { number, file, key: Vec::new(), value: Vec::new() };
            if run.advance(&[])? {
                self.runs.push(run);
            }
            self.tell();
        }
        Ok(())
    }

    /// The next key and its last value.
    pub(crate) fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        loop {
            self.begin()?;
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

impl Part {
    /// Has the system read it.
    fn read_ahead(&self) {
        let bytes = NonZeroU64::new(self.end.saturating_sub(self.at));
        // It is read in any case.
        let _unread = fadvise(&self.file, self.at, bytes, Advice::WillNeed);
    }
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

    /// The section is the first digit.
    fn section(key: &[u8]) -> u64 {
        key.first().copied().unwrap_or_default().into()
    }

    /// Two runs of a thousand rows with the same keys, the second of which says something else of every other key.
    fn runs(directory: &Path) -> Runs {
        let mut runs = Runs::new(directory).unwrap();
        for (step, value) in [(1, "first"), (2, "second")] {
            let mut rows = Rows::new();
            for number in (0..1000).rev().step_by(step) {
                rows.push(format!("{number}").as_bytes(), value.as_bytes());
            }
            let run = runs.write(rows, section).unwrap().join().unwrap().unwrap();
            runs.add(run);
        }
        runs
    }

    fn rows(mut merged: Merged) -> io::Result<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut rows = Vec::new();
        while let Some((key, value)) = merged.next()? {
            rows.push((text(key), text(value)));
        }
        Ok(rows)
    }

    #[test]
    fn the_last_run_wins_in_each_section() {
        let scratch = tempfile::tempdir().unwrap();
        let runs = runs(scratch.path());
        let mut expected: Vec<_> = (0..1000).map(|number: u32| number.to_string()).collect();
        expected.sort();
        let mut found = Vec::new();
        let mut size = 0;
        for first in b'0'..=b'9' {
            let section = rows(Merged::new([&runs], first.into())).unwrap();
            assert!(section.iter().all(|(key, _)| key.as_bytes()[0] == first));
            found.extend(section);
            size += runs.size(first.into());
        }
        for (number, (key, value)) in expected.iter().zip(&found) {
            let odd = number.parse::<u32>().unwrap() % 2 == 1;
            assert_eq!((number, if odd { "second" } else { "first" }), (key, value.as_str()));
        }
        assert_eq!(found.len(), 1000);
        assert_eq!(size, runs.file.metadata().unwrap().len());
        assert_eq!(runs.size(b'x'.into()), 0);
        assert_eq!(rows(Merged::new([&runs], b'x'.into())).unwrap(), []);
    }

    #[test]
    fn runs_of_several_files_are_merged() {
        let scratch = tempfile::tempdir().unwrap();
        let several = ["a", "b"].map(|value| {
            let mut runs = Runs::new(scratch.path()).unwrap();
            let mut rows = Rows::new();
            for number in [3, 1, 2] {
                rows.push(format!("1{number}{value}").as_bytes(), value.as_bytes());
            }
            let run = runs.write(rows, section).unwrap().join().unwrap().unwrap();
            runs.add(run);
            runs
        });
        let found = rows(Merged::new(&several, b'1'.into())).unwrap();
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["11a", "11b", "12a", "12b", "13a", "13b"]);
    }

    /// Runs that come one after the other, or overlap a little.
    #[test]
    fn runs_are_begun_when_their_rows_come() {
        let scratch = tempfile::tempdir().unwrap();
        let mut runs = Runs::new(scratch.path()).unwrap();
        for begin in [300, 100, 250, 500] {
            let mut rows = Rows::new();
            (begin..begin + 100).for_each(|key: u32| rows.push(key.to_string().as_bytes(), b"v"));
            let run = runs.write(rows, |_| 7).unwrap().join().unwrap().unwrap();
            runs.add(run);
        }
        let mut merged = Merged::new([&runs], 7).read_ahead(3000);
        assert_eq!(merged.told, 2);
        let (mut found, mut open) = (Vec::new(), 0);
        while let Some((key, _)) = merged.next().unwrap() {
            found.push(String::from_utf8(key.to_vec()).unwrap());
            open = open.max(merged.runs.len());
        }
        let expected = (100..200).chain(250..400).chain(500..600).map(|key| key.to_string());
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert_eq!((open, merged.told, merged.later.len()), (2, 0, 0));
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let runs = runs(scratch.path());
        let end = runs.file.metadata().unwrap().len();
        // In the middle of a row, and between two runs.
        let between = runs.runs[0].0.last().unwrap().place.end;
        for cut in [end - 1, between] {
            runs.file.set_len(cut).unwrap();
            let error = rows(Merged::new([&runs], b'9'.into())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
