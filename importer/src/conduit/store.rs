//! The key-value store: [`KvRead`] reads it, [`KvLoad`] fills a new one, [`KvCommit`] changes one that is in use.

mod bulk;
mod continuwuity;
pub mod memory;
pub mod overlay;
mod rocksdb;
mod sqlite;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use self::{continuwuity::Continuwuity, rocksdb::RocksStore, sqlite::SqliteStore};
use super::schema::{dialect::Dialect, trees::Tree};
use crate::fs::hints;

/// A row of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The tree.
    pub tree: &'static Tree,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// Key and value, as scans give them.
pub type Entry = (Box<[u8]>, Box<[u8]>);

/// New values of keys, `None` for rows that go.
pub type Changes = BTreeMap<(&'static Tree, Vec<u8>), Option<Vec<u8>>>;

/// Rows of a scan.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, KvError>> + 'a>;

/// A set of trees over a storage engine, to be read. Keys are ordered by unsigned bytes. Calls block: use it outside of async
/// tasks.
pub trait KvRead: Send {
    /// Whose database it is.
    fn dialect(&self) -> Dialect {
        Dialect::Conduit
    }

    /// Whether scans of a tree give its rows in the order of their keys.
    fn is_ordered(&self, _tree: &'static Tree) -> bool {
        true
    }

    /// Rows that stand where the server would not read them, for people. Scans pass over them.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn misplaced(&self) -> Result<Vec<String>, KvError> {
        Ok(Vec::new())
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// All rows of a tree whose key begins with `prefix`, in order if the tree [is ordered](Self::is_ordered). A tree that was never written to is empty.
    ///
    /// # Errors
    ///
    /// The engine's; the iterator ends after an error.
    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError>;

    /// All rows of a tree from a key on, in order.
    ///
    /// # Errors
    ///
    /// As [`Self::scan`].
    fn scan_from<'a>(&'a self, tree: &'static Tree, from: &[u8]) -> Result<Entries<'a>, KvError> {
        Ok(from_key(self.scan(tree, &[])?, from))
    }

    /// Gives the rows of a tree from a key on to `visit`, in order, borrowed, until that returns false.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn visit(
        &self,
        tree: &'static Tree,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        each(self.scan_from(tree, from)?, visit)
    }

    /// Keys, not necessarily of rows, that divide a tree into parts of about so many bytes on disk, in order. A store that
    /// does not know any gives none.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn divide(&self, _tree: &'static Tree, _bytes: u64) -> Result<Vec<Vec<u8>>, KvError> {
        Ok(Vec::new())
    }

    /// How many rows a tree has; an estimate, where counting would read them all.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn rows(&self, tree: &'static Tree) -> Result<u64, KvError> {
        let mut rows: u64 = 0;
        self.visit(tree, &[], &mut |_, _| {
            rows += 1;
            true
        })?;
        Ok(rows)
    }

    /// The store for several threads at once, if it can be read by them.
    fn shared(&self) -> Option<&(dyn KvRead + Sync)> {
        None
    }

    /// Names of trees in the store that [`super::schema::trees::TREES`] does not list. Normally none.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn foreign_trees(&self) -> Result<Vec<String>, KvError>;
}

/// Leaves out rows before a key.
fn from_key<'a>(rows: Entries<'a>, from: &[u8]) -> Entries<'a> {
    let from = from.to_vec();
    let is_before =
        move |row: &Result<Entry, KvError>| row.as_ref().is_ok_and(|(key, _)| **key < *from);
    Box::new(rows.filter(move |row| !is_before(row)))
}

/// Gives rows to `visit` until that returns false.
fn each(rows: Entries<'_>, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), KvError> {
    for row in rows {
        let (key, value) = row?;
        if !visit(&key, &value) {
            break;
        }
    }
    Ok(())
}

/// A new store, to be filled. It is worth nothing before [`Self::finish`]: a load that is interrupted begins anew.
pub trait KvLoad: KvRead {
    /// Writes rows; a row with the key of an earlier one replaces it. Rows of large trees may be kept back until
    /// [`Self::settle`].
    ///
    /// # Errors
    ///
    /// The engine's.
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError>;

    /// Makes all rows visible that were written. It costs much; to be called once, between writing and reading.
    ///
    /// # Errors
    ///
    /// The engine's.
    fn settle(&mut self) -> Result<(), KvError> {
        Ok(())
    }

    /// Makes everything visible and durable, in the form that is the fastest to read. To be called after the last write.
    ///
    /// # Errors
    ///
    /// The engine's, a full disk among them.
    fn finish(&mut self) -> Result<(), KvError>;
}

/// An existing store, to be changed.
pub trait KvCommit: KvRead {
    /// Makes all changes or none, even if the machine dies meanwhile; they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// The engine's, a full disk among them.
    fn commit(&mut self, changes: Changes) -> Result<(), KvError>;

    /// Moves what was committed out of the engine's log, so that Conduit has nothing to replay. To be called after the last
    /// change.
    ///
    /// # Errors
    ///
    /// The engine's, a full disk among them.
    fn checkpoint(&mut self) -> Result<(), KvError> {
        Ok(())
    }
}

/// The engines that a stock Conduit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Conduit's default.
    Rocksdb,
    /// `database_backend = "sqlite"`.
    Sqlite,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rocksdb => "rocksdb",
            Self::Sqlite => "sqlite",
        })
    }
}

/// The engine of the database in a directory, told by file names as Conduit does (src/database/mod.rs:222-272).
pub fn detect(directory: &Path) -> Option<Backend> {
    if directory.join("IDENTITY").exists() {
        Some(Backend::Rocksdb)
    } else if directory.join("conduit.db").exists() {
        Some(Backend::Sqlite)
    } else {
        None
    }
}

/// Makes a directory that only its owner can read, if there is none.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What an engine opens a store for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A new store of a server in a directory that holds none, for [`KvLoad`].
    Create(Dialect),
    /// An existing store, for [`KvRead`].
    Read,
    /// An existing store, for [`KvCommit`].
    Change,
}

impl Mode {
    fn is_new(self) -> bool {
        matches!(self, Self::Create(_))
    }
}

/// Makes a store.
pub type Create = fn(&NewStore<'_>) -> Result<Box<dyn KvLoad>, KvError>;
/// Opens a store, to read it.
pub type Read = fn(Backend, &Path) -> Result<Box<dyn KvRead>, KvError>;

/// How a migration makes a store and reads it again: [`Access::DIRECT`], or a homeserver's own way into its database.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Makes a store in an empty directory; see [`create`].
    pub create: Create,
    /// Opens the same store when everything is written; see [`read`].
    pub read: Read,
}

impl Access {
    /// By the engines of this program.
    pub const DIRECT: Self = Self { create, read };
}

/// A store that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewStore<'a> {
    /// Where; the directory is made if it is not there.
    pub directory: &'a Path,
    /// Its engine.
    pub backend: Backend,
    /// For which server.
    pub dialect: Dialect,
    /// The name of that server.
    pub server_name: &'a str,
}

impl<'a> NewStore<'a> {
    /// A store of Conduit's, which does not depend on the server's name.
    pub fn of_conduit(backend: Backend, directory: &'a Path) -> Self {
        Self { directory, backend, dialect: Dialect::Conduit, server_name: "" }
    }
}

/// Makes a store.
///
/// # Errors
///
/// [`KvError::Open`]: the directory can't be made or holds a database, or the server does not have this engine.
pub fn create(new: &NewStore<'_>) -> Result<Box<dyn KvLoad>, KvError> {
    let NewStore { directory, backend, dialect, server_name } = *new;
    let error = |reason| KvError::Open { path: directory.to_owned(), reason };
    if let Some(found) = detect(directory) {
        let reason = format!("it holds a {found} database already; name a new directory");
        return Err(error(reason));
    }
    Ok(match (dialect, backend) {
        (Dialect::Conduit, Backend::Rocksdb) => {
            Box::new(RocksStore::open(directory, Mode::Create(dialect))?)
        }
        (Dialect::Conduit, Backend::Sqlite) => {
            Box::new(SqliteStore::open(directory, Mode::Create(dialect))?)
        }
        (Dialect::Continuwuity, Backend::Rocksdb) => {
            let store = RocksStore::open(directory, Mode::Create(dialect))?;
            Box::new(Continuwuity::new(store, server_name))
        }
        (Dialect::Continuwuity, Backend::Sqlite) => {
            return Err(error("Continuwuity opens RocksDB only; use `--backend rocksdb`".into()));
        }
    })
}

/// Opens the store of `backend` in `directory`, to read it. Whose it is, it finds out.
///
/// # Errors
///
/// [`KvError::Open`], [`KvError::InUse`].
pub fn read(backend: Backend, directory: &Path) -> Result<Box<dyn KvRead>, KvError> {
    expect(backend, directory)?;
    Ok(match backend {
        Backend::Rocksdb => {
            let store = RocksStore::open(directory, Mode::Read)?;
            match continuwuity::server_name(&store)? {
                Some(name) => Box::new(Continuwuity::new(store, &name)),
                None => Box::new(store),
            }
        }
        Backend::Sqlite => Box::new(SqliteStore::open(directory, Mode::Read)?),
    })
}

/// Opens the store of `backend` in `directory`, to change it. Nobody else can open it meanwhile.
///
/// # Errors
///
/// [`KvError::Open`], [`KvError::InUse`].
pub fn change(backend: Backend, directory: &Path) -> Result<Box<dyn KvCommit>, KvError> {
    expect(backend, directory)?;
    Ok(match backend {
        Backend::Rocksdb => {
            let store = RocksStore::open(directory, Mode::Change)?;
            match continuwuity::server_name(&store)? {
                Some(name) => Box::new(Continuwuity::new(store, &name)),
                None => Box::new(store),
            }
        }
        Backend::Sqlite => Box::new(SqliteStore::open(directory, Mode::Change)?),
    })
}

/// Refuses a directory without a store of that engine.
fn expect(backend: Backend, directory: &Path) -> Result<(), KvError> {
    let reason = match detect(directory) {
        Some(found) if found == backend => return Ok(()),
        Some(found) => format!("it is a {found} database; use `--backend {found}`"),
        None => "there is no database of Conduit or Continuwuity; name the directory of one".into(),
    };
    Err(KvError::Open { path: directory.to_owned(), reason })
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The store can't be opened.
    #[error("opening the database in `{}`: {reason}{}", path.display(), hints::of(reason))]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the engine says.
        reason: String,
    },
    /// Another process has the store open.
    #[error("the database in `{}` is in use; stop the server first", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A read failed.
    #[error("reading tree `{tree}`: {reason}{}", hints::of(reason))]
    Read {
        /// The tree.
        tree: &'static str,
        /// What the engine says.
        reason: String,
    },
    /// A write failed.
    #[error("writing to the database in `{}`: {reason}{}", path.display(), hints::of(reason))]
    Write {
        /// The directory.
        path: PathBuf,
        /// What the engine says.
        reason: String,
    },
}
