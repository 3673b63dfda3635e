//! Sorted files of rows, made beside the database by threads of their own and then added to it as they are.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use rocksdb::{AsColumnFamilyRef, DB, IngestExternalFileOptions, Options, SstFileWriter};

use crate::conduit::{
    kv::{
        KvError, Row,
        large::{Collected, Rows},
    },
    trees::Tree,
};

/// Files that are made at once.
const AT_ONCE: usize = 2;

/// A file of rows of a tree.
type Made = (&'static Tree, PathBuf);

/// Rows of large trees, in memory and in files.
pub(super) struct Files {
    database: PathBuf,
    options: Options,
    collected: Collected,
    under_way: VecDeque<JoinHandle<Result<Made, rocksdb::Error>>>,
    /// In the order of their rows.
    made: Vec<Made>,
    begun: u64,
}

impl Files {
    pub(super) fn new(database: &Path, options: &Options) -> Self {
        Self {
            database: database.to_owned(),
            options: options.clone(),
            collected: Collected::new(),
            under_way: VecDeque::new(),
            made: Vec::new(),
            begun: 0,
        }
    }

    /// Takes a row of a large tree; gives back one of another tree.
    pub(super) fn take(&mut self, row: Row) -> Result<Option<Row>, KvError> {
        let other = self.collected.push(row);
        if other.is_none() {
            while let Some(rows) = self.collected.due() {
                self.begin(rows)?;
            }
        }
        Ok(other)
    }

    /// Makes files of all rows. Gives them in the order of their rows: a later one replaces rows of an earlier one.
    pub(super) fn finish(&mut self) -> Result<Vec<Made>, KvError> {
        for rows in self.collected.drain() {
            self.begin(rows)?;
        }
        while !self.under_way.is_empty() {
            self.end()?;
        }
        Ok(std::mem::take(&mut self.made))
    }

    /// Removes the directory of the files, all of which have been added.
    pub(super) fn clean(&self) -> Result<(), KvError> {
        match fs::remove_dir(self.directory()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error(cause.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, mut rows: Rows) -> Result<(), KvError> {
        while self.under_way.len() >= AT_ONCE {
            self.end()?;
        }
        let directory = self.directory();
        fs::create_dir_all(&directory).map_err(|cause| self.error(cause.to_string()))?;
        self.begun = self.begun.saturating_add(1);
        let path = directory.join(format!("{}.sst", self.begun));
        let options = self.options.clone();
        self.under_way.push_back(std::thread::spawn(move || {
            rows.sort();
            let mut writer = SstFileWriter::create(&options);
            writer.open(&path)?;
            for (key, value) in rows.iter() {
                writer.put(key, value)?;
            }
            writer.finish()?;
            Ok((rows.tree, path))
        }));
        Ok(())
    }

    /// Waits for the oldest file under way.
    fn end(&mut self) -> Result<(), KvError> {
        let Some(file) = self.under_way.pop_front() else { return Ok(()) };
        match file.join() {
            Ok(Ok(file)) => {
                self.made.push(file);
                Ok(())
            }
            Ok(Err(cause)) => Err(self.error(cause.into_string())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn directory(&self) -> PathBuf {
        self.database.join("importer-rows")
    }

    fn error(&self, reason: String) -> KvError {
        KvError::Write { path: self.database.clone(), reason }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nobody may write into a directory that is given up.
        while let Some(file) = self.under_way.pop_front() {
            drop(file.join());
        }
    }
}

/// Adds a file to a tree. It becomes part of the last level if no file there has keys in its range.
pub(super) fn add(
    db: &DB,
    family: &impl AsColumnFamilyRef,
    file: PathBuf,
) -> Result<(), rocksdb::Error> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    db.ingest_external_file_cf_opts(family, &options, vec![file])
}
