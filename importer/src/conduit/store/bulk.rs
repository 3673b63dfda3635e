//! Rows of large trees on their way into an engine: collected until they are many, sorted, and merged at the end, so that
//! each is added once and in the order of its key.

#![warn(
    clippy::arithmetic_side_effects,
    reason = "places of rows in memory and in files are calculated here"
)]

use std::{
    io,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use super::Row;
use crate::{
    conduit::schema::trees::{self, Tree},
    fs::sorted_rows::{Merged, Rows, Runs, WrittenRun},
};

/// Trees with rows for each event, word or member. No such row is read before [`super::KvLoad::settle`].
const TREES: [&Tree; 16] = [
    trees::PDUID_PDU.tree(),
    trees::TOKENIDS.tree(),
    trees::REFERENCEDEVENTS.tree(),
    trees::EVENTID_PDUID.tree(),
    trees::EVENTID_SHORTEVENTID.tree(),
    trees::SHORTEVENTID_EVENTID.tree(),
    trees::SHORTEVENTID_SHORTSTATEHASH.tree(),
    trees::SHORTSTATEHASH_STATEDIFF.tree(),
    trees::EVENTID_OUTLIERPDU.tree(),
    trees::TOFROM_RELATION.tree(),
    trees::USERROOMID_JOINED.tree(),
    trees::ROOMUSERID_JOINED.tree(),
    trees::ROOMUSERONCEJOINEDIDS.tree(),
    trees::USERROOMID_LEFTSTATE.tree(),
    trees::ROOMUSERID_LEFTCOUNT.tree(),
    trees::KEYCHANGEID_USERID.tree(),
];

/// Bytes of rows of one tree that are enough to leave, if they came in order: they are final.
const ORDERED: usize = 24 << 20;
/// Bytes of all rows that are held.
const ALL: usize = 80 << 20;
/// A tree's runs are read as a whole.
const SECTION: u64 = 0;

/// Rows of all large trees: in memory, and beyond [`ALL`] in files without a name beside the database.
#[derive(Debug)]
pub(super) struct Collected {
    directory: PathBuf,
    trees: Vec<Collecting>,
    size: usize,
    /// Whether there may be something for [`Self::due`].
    may_be_due: bool,
    /// Sorts and writes a run of the tree at this place.
    under_way: Option<(usize, JoinHandle<io::Result<WrittenRun>>)>,
}

/// Rows of one tree.
#[derive(Debug)]
struct Collecting {
    tree: &'static Tree,
    rows: Rows,
    runs: Option<Runs>,
}

impl Collecting {
    /// Whether what is held can go to the engine without waiting for the rest.
    fn is_final(&self) -> bool {
        self.runs.is_none() && self.rows.is_ordered()
    }

    /// Whether so much is final that it should go.
    fn is_due(&self) -> bool {
        self.rows.size() >= ORDERED && self.is_final()
    }
}

impl Collected {
    pub(super) fn new(directory: &Path) -> Self {
        let collecting = |tree| Collecting { tree, rows: Rows::new(), runs: None };
        Self {
            directory: directory.to_owned(),
            trees: TREES.into_iter().map(collecting).collect(),
            size: 0,
            may_be_due: false,
            under_way: None,
        }
    }

    /// Takes a row of a large tree; gives back one of another tree.
    pub(super) fn push(&mut self, row: Row) -> Option<Row> {
        let mut trees = self.trees.iter_mut();
        let Some(tree) = trees.find(|tree| std::ptr::eq(tree.tree, row.tree)) else {
            return Some(row);
        };
        let before = tree.rows.size();
        tree.rows.push(&row.key, &row.value);
        self.size = self.size.saturating_add(tree.rows.size().saturating_sub(before));
        self.may_be_due |= self.size >= ALL || tree.is_due();
        None
    }

    /// Makes space if too much is held. Gives rows that should go to the engine now.
    pub(super) fn due(&mut self) -> io::Result<Option<Sorted>> {
        if !std::mem::take(&mut self.may_be_due) {
            return Ok(None);
        }
        let due = match self.trees.iter().position(Collecting::is_due) {
            None if self.size < ALL => None,
            None => {
                let trees = self.trees.iter().enumerate();
                trees.max_by_key(|(_, tree)| tree.rows.size()).map(|(at, _)| at)
            }
            at => at,
        };
        let Some((at, tree)) = due.and_then(|at| Some((at, self.trees.get_mut(at)?))) else {
            return Ok(None);
        };
        self.may_be_due = true;
        let is_final = tree.is_final();
        let (of, rows) = (tree.tree, tree.rows.take());
        self.size = self.size.saturating_sub(rows.size());
        if is_final {
            return Ok(Some(Sorted::of(of, rows)));
        }
        self.write(at, rows)?;
        Ok(None)
    }

    /// Everything, the most first.
    pub(super) fn drain(&mut self) -> io::Result<Vec<Sorted>> {
        self.size = 0;
        for at in 0..self.trees.len() {
            let Some(tree) = self.trees.get_mut(at) else { continue };
            if tree.runs.is_some() && !tree.rows.is_empty() {
                let rows = tree.rows.take();
                self.write(at, rows)?;
            }
        }
        self.wait()?;
        let mut all = Vec::new();
        for tree in &mut self.trees {
            match tree.runs.take() {
                Some(runs) => all.push(Sorted::merged(tree.tree, &runs)),
                None if tree.rows.is_empty() => {}
                None => all.push(Sorted::of(tree.tree, tree.rows.take())),
            }
        }
        all.sort_by_key(|sorted| std::cmp::Reverse(sorted.size));
        Ok(all)
    }

    /// Has a run of the tree at this place written by a thread of its own, after that of an earlier one.
    fn write(&mut self, at: usize, rows: Rows) -> io::Result<()> {
        self.wait()?;
        let Some(tree) = self.trees.get_mut(at) else { return Ok(()) };
        let runs = match &mut tree.runs {
            Some(runs) => runs,
            none => none.insert(Runs::new(&self.directory)?),
        };
        self.under_way = Some((at, runs.write(rows, |_| SECTION)?));
        Ok(())
    }

    /// Waits for the run under way.
    fn wait(&mut self) -> io::Result<()> {
        let Some((at, run)) = self.under_way.take() else { return Ok(()) };
        let run = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if let Some(runs) = self.trees.get_mut(at).and_then(|tree| tree.runs.as_mut()) {
            runs.add(run);
        }
        Ok(())
    }
}

/// Rows of a tree in the order of their keys.
#[derive(Debug)]
pub(super) struct Sorted {
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
    fn of(tree: &'static Tree, rows: Rows) -> Self {
        let size = u64::try_from(rows.size()).unwrap_or(u64::MAX);
        Self { tree, size, source: Source::Held(rows, 0) }
    }

    fn merged(tree: &'static Tree, runs: &Runs) -> Self {
        let merged = Merged::new([runs], SECTION);
        Self { tree, size: runs.size(SECTION), source: Source::Merged(merged) }
    }

    pub(super) fn tree(&self) -> &'static Tree {
        self.tree
    }

    /// The next key and its last value.
    pub(super) fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(tree: &'static Tree, key: u64, value: Vec<u8>) -> Row {
        Row { tree, key: key.to_be_bytes().to_vec(), value }
    }

    fn all(mut sorted: Sorted) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((key, value)) = sorted.next().unwrap() {
            all.push((key.to_vec(), value.to_vec()));
        }
        all
    }

    #[test]
    fn rows_in_order_leave_early() {
        let scratch = tempfile::tempdir().unwrap();
        let mut collected = Collected::new(scratch.path());
        assert!(collected.push(row(&trees::GLOBAL, 1, vec![1])).is_some());
        for key in [2, 3] {
            assert!(collected.push(row(&trees::PDUID_PDU, key, vec![0; ORDERED])).is_none());
            let due = collected.due().unwrap().unwrap();
            assert_eq!(due.tree(), &trees::PDUID_PDU);
            assert_eq!(all(due).len(), 1);
            assert!(collected.due().unwrap().is_none());
        }
        // Comes before what has left.
        collected.push(row(&trees::PDUID_PDU, 1, vec![0; ORDERED]));
        assert!(collected.due().unwrap().is_none());
        assert_eq!(collected.drain().unwrap().len(), 1);
        assert!(collected.drain().unwrap().is_empty());
    }

    /// Three times what is held at most, with keys that come again: as from a map, which keeps the later value.
    #[test]
    fn runs_are_merged() {
        let scratch = tempfile::tempdir().unwrap();
        let mut collected = Collected::new(scratch.path());
        let mut map = BTreeMap::new();
        let rows: u64 = 6 * 128;
        for number in 0..rows {
            // Up and down, over all keys.
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (rows / 2);
            let value = vec![u8::try_from(number % 251).unwrap(); ALL / 256];
            map.insert(key.to_be_bytes().to_vec(), (value.len(), value.first().copied()));
            assert!(collected.push(row(&trees::TOKENIDS, key, value)).is_none());
            assert!(collected.due().unwrap().is_none());
            assert!(collected.size < ALL);
        }
        collected.push(row(&trees::EVENTID_PDUID, 1, vec![7]));
        let [tokens, events] = <[Sorted; 2]>::try_from(collected.drain().unwrap()).unwrap();
        assert_eq!(
            (tokens.tree(), events.tree()),
            (trees::TOKENIDS.tree(), trees::EVENTID_PDUID.tree())
        );
        let tokens = all(tokens).into_iter();
        let found: Vec<_> =
            tokens.map(|(key, value)| (key, (value.len(), value.first().copied()))).collect();
        assert_eq!(found, map.into_iter().collect::<Vec<_>>());
        assert_eq!(all(events).len(), 1);
        // The files had no names.
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
