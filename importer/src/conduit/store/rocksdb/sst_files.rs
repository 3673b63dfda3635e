//! Sorted files of rows, made beside the database by threads of their own and then added to it as they are.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use rayon::prelude::*;
use rocksdb::{AsColumnFamilyRef, DB, IngestExternalFileOptions, Options, SstFileWriter};

use crate::conduit::{
    schema::trees::Tree,
    store::{
        KvError, Row,
        bulk::{Collected, Sorted},
    },
};

/// Files that are made at once while rows come in.
const AT_ONCE: usize = 2;
/// Bytes of keys and values in a file.
const FILE: usize = 64 << 20;

/// A file of rows of a tree.
type Made = (&'static Tree, PathBuf);

/// Rows of large trees, in memory and in files.
pub(super) struct Files {
    database: PathBuf,
    options: Options,
    collected: Collected,
    under_way: VecDeque<JoinHandle<Result<Vec<Made>, Failed>>>,
    /// In the order of their rows.
    made: Vec<Made>,
    begun: u64,
}

/// Why a file could not be made.
type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Files {
    pub(super) fn new(database: &Path, options: &Options) -> Self {
        Self {
            database: database.to_owned(),
            options: options.clone(),
            collected: Collected::new(database),
            under_way: VecDeque::new(),
            made: Vec::new(),
            begun: 0,
        }
    }

    /// Takes a row of a large tree; gives back one of another tree.
    pub(super) fn take(&mut self, row: Row) -> Result<Option<Row>, KvError> {
        let other = self.collected.push(row);
        if other.is_none() {
            while let Some(rows) = self.due()? {
                self.begin(rows)?;
            }
        }
        Ok(other)
    }

    /// Makes files of all rows. Gives them in the order of their rows: a later one replaces rows of an earlier one.
    pub(super) fn finish(&mut self) -> Result<Vec<Made>, KvError> {
        while !self.under_way.is_empty() {
            self.end()?;
        }
        let all = self.collected.drain().map_err(|cause| self.error(cause.to_string()))?;
        let directory = self.directory()?;
        // The largest tree takes long: each of the others must be free to be made beside it.
        let made: Result<Vec<_>, _> = all
            .into_par_iter()
            .with_max_len(1)
            .map(|rows| {
                let name = rows.tree().name;
                write(&directory, name, rows, &self.options)
            })
            .collect();
        let made = made.map_err(|cause| self.error(cause.to_string()))?;
        self.made.extend(made.into_iter().flatten());
        Ok(std::mem::take(&mut self.made))
    }

    /// Removes the directory of the files, all of which have been added.
    pub(super) fn clean(&self) -> Result<(), KvError> {
        match fs::remove_dir(self.path()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error(cause.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn due(&mut self) -> Result<Option<Sorted>, KvError> {
        self.collected.due().map_err(|cause| self.error(cause.to_string()))
    }

    fn begin(&mut self, rows: Sorted) -> Result<(), KvError> {
        while self.under_way.len() >= AT_ONCE {
            self.end()?;
        }
        let directory = self.directory()?;
        let options = self.options.clone();
        self.begun += 1;
        let name = self.begun.to_string();
        self.under_way
            .push_back(std::thread::spawn(move || write(&directory, &name, rows, &options)));
        Ok(())
    }

    /// Waits for the oldest file under way.
    fn end(&mut self) -> Result<(), KvError> {
        let Some(file) = self.under_way.pop_front() else { return Ok(()) };
        match file.join() {
            Ok(Ok(files)) => {
                self.made.extend(files);
                Ok(())
            }
            Ok(Err(cause)) => Err(self.error(cause.to_string())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn path(&self) -> PathBuf {
        self.database.join("importer-rows")
    }

    /// The directory of the files, made if there is none.
    fn directory(&self) -> Result<PathBuf, KvError> {
        let path = self.path();
        fs::create_dir_all(&path).map_err(|cause| self.error(cause.to_string()))?;
        Ok(path)
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

/// Makes files of a tree's rows, each of which begins after the end of the one before.
fn write(
    directory: &Path,
    name: &str,
    mut rows: Sorted,
    options: &Options,
) -> Result<Vec<Made>, Failed> {
    let tree = rows.tree();
    let mut made: Vec<Made> = Vec::new();
    let mut writer = SstFileWriter::create(options);
    let mut bytes: usize = 0;
    let mut is_open = false;
    while let Some((key, value)) = rows.next()? {
        if bytes >= FILE {
            writer.finish()?;
            is_open = false;
        }
        if !is_open {
            bytes = 0;
            is_open = true;
            let path = directory.join(format!("{name}-{}.sst", made.len()));
            writer.open(&path)?;
            made.push((tree, path));
        }
        writer.put(key, value)?;
        bytes += key.len() + value.len();
    }
    if is_open {
        writer.finish()?;
    }
    Ok(made)
}

/// Adds a file to a tree. It becomes part of the last level if no file there has keys in its range.
pub(super) fn add(
    db: &DB,
    family: &impl AsColumnFamilyRef,
    file: &Path,
) -> Result<(), rocksdb::Error> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    db.ingest_external_file_cf_opts(family, &options, vec![file])
}
