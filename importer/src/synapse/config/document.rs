//! Several YAML files as one mapping, which remembers where each key came from.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ConfigError, Given, MappedPath, PathMap, Unreadable, yaml};
use crate::fs::read_small;

/// Top-level keys of all files; those of later files replace those of earlier ones.
#[derive(Debug)]
pub(super) struct Document {
    /// Values and the directories of the files they stand in.
    keys: BTreeMap<String, (Value, PathBuf)>,
    /// The directory of the last file.
    last: PathBuf,
    /// Files that Synapse would not take for a part of its configuration, and says nothing of.
    passed_over: Vec<PathBuf>,
    map: PathMap,
    /// Relative paths that are both where the importer runs and beside the configuration, and are not the same.
    ambiguous: RefCell<BTreeSet<(String, PathBuf, PathBuf)>>,
    /// What would make absolute paths exist that are not there.
    proposed: RefCell<BTreeSet<MappedPath>>,
}

impl Document {
    /// Reads all files; of a directory, its `*.yaml` files.
    pub(super) fn read(given: &Given) -> Result<Self, ConfigError> {
        let (mut keys, mut passed_over) = (BTreeMap::new(), Vec::new());
        let mut last = None;
        for path in &given.files {
            for file in files(path)? {
                let directory = file.parent().unwrap_or(Path::new("")).to_owned();
                last = Some(directory.clone());
                match yaml(&file, &read_text(&file, None)?)? {
                    Value::Object(mapping) => keys.extend(
                        mapping.into_iter().map(|(key, value)| (key, (value, directory.clone()))),
                    ),
                    // Synapse goes on without it (`synapse/config/_base.py`, `read_config_files`).
                    _ => passed_over.push(file),
                }
            }
        }
        let Some(last) = last else {
            let paths = given.files.clone();
            return Err(ConfigError::NoFiles { paths });
        };
        let map = given.map.clone();
        let (ambiguous, proposed) = (RefCell::default(), RefCell::default());
        Ok(Self { keys, last, passed_over, map, ambiguous, proposed })
    }

    /// A key's value; `None` if it is absent or null.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        match self.keys.get(key) {
            None | Some((Value::Null, _)) => Ok(None),
            Some((value, _)) => T::deserialize(value)
                .map(Some)
                .map_err(|_secret| ConfigError::Form { key: key.to_owned() }),
        }
    }

    /// The same where Synapse takes whatever Python holds for nothing (`{}`, `''`, `0`, `false`) for an absent key.
    pub(super) fn get_true<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        let is_nothing = match self.keys.get(key) {
            Some((Value::Object(map), _)) => map.is_empty(),
            Some((Value::Array(list), _)) => list.is_empty(),
            Some((Value::String(text), _)) => text.is_empty(),
            Some((Value::Bool(on), _)) => !on,
            Some((Value::Number(number), _)) => number.as_f64() == Some(0.0),
            Some((Value::Null, _)) | None => true,
        };
        if is_nothing { Ok(None) } else { self.get(key) }
    }

    /// Reads a file that a key names.
    pub(super) fn read_named(&self, key: &str, path: &Path) -> Result<String, ConfigError> {
        read_text(path, Some(Named { key, directory: self.last_directory() }))
    }

    /// What keeps a file or directory that a key names from being read.
    pub(super) fn unreadable(&self, key: &str, path: &Path) -> Option<Unreadable> {
        let source = std::fs::File::open(path).err()?;
        let proposed = MappedPath::propose(path, self.last_directory());
        Some(Unreadable { key: key.to_owned(), path: path.to_owned(), proposed, source })
    }

    /// The directory of the last file, where Synapse looks for what the configuration does not name.
    pub(super) fn last_directory(&self) -> &Path {
        &self.last
    }

    /// Files that hold no mapping.
    pub(super) fn passed_over(&self) -> &[PathBuf] {
        &self.passed_over
    }

    /// The file that a path under `key` means.
    pub(super) fn resolve(&self, key: &str, path: &Path) -> PathBuf {
        let directory = self.keys.get(key).map_or(Path::new(""), |(_, directory)| directory);
        let path = self.map.apply(path);
        if path.is_absolute() {
            if !path.exists()
                && let Some(proposed) = MappedPath::propose(&path, directory)
            {
                self.proposed.borrow_mut().insert(proposed);
            }
            return path;
        }
        let beside = directory.join(&path);
        match (path.exists(), beside.exists()) {
            (false, true) => beside,
            (true, true) if !same(&path, &beside) => {
                self.ambiguous.borrow_mut().insert((key.to_owned(), path.clone(), beside));
                path
            }
            _ => path,
        }
    }

    /// A path that nothing is known of but what `--map-path` says.
    pub(super) fn mapped(&self, path: &Path) -> PathBuf {
        self.map.apply(path)
    }

    /// What would make absolute paths exist that are not there.
    pub(super) fn proposed(&self) -> Vec<MappedPath> {
        self.proposed.borrow().iter().cloned().collect()
    }

    /// Relative paths of which nobody can tell what they mean: key, what was taken, what else is there.
    pub(super) fn ambiguous(&self) -> Vec<(String, PathBuf, PathBuf)> {
        self.ambiguous.borrow().iter().cloned().collect()
    }
}

/// The key that names a file, and the directory of the configuration.
#[derive(Clone, Copy)]
struct Named<'a> {
    key: &'a str,
    directory: &'a Path,
}

fn same(first: &Path, second: &Path) -> bool {
    matches!((first.canonicalize(), second.canonicalize()), (Ok(first), Ok(second)) if first == second)
}

/// A file, or the `*.yaml` files of a directory in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io_error =
        |source| ConfigError::Io { key: None, path: path.to_owned(), proposed: None, source };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(io_error)? {
        let file = entry.map_err(io_error)?.path();
        // Python's `endswith`: `.yaml` alone is a name, too.
        let is_yaml =
            file.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".yaml"));
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file. `named` is the key that names it, and where that stands.
fn read_text(path: &Path, named: Option<Named<'_>>) -> Result<String, ConfigError> {
    let bytes = read_small(path).map_err(|source| {
        let key = named.map(|named| named.key.to_owned());
        let proposed = named.and_then(|named| MappedPath::propose(path, named.directory));
        ConfigError::Io { key, path: path.to_owned(), proposed, source }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        ConfigError::Encoding { path: path.to_owned(), line }
    })
}

/// Reads YAML. What the parser says is dropped but for the line: it may quote the file.
pub(super) fn yaml(path: &Path, text: &str) -> Result<Value, ConfigError> {
    yaml::parse(text)
        .map_err(|error| ConfigError::Syntax { path: path.to_owned(), line: error.line })
}

/// The text of a scalar, as Python prints it: YAML reads `password: 12345` as a number. `None` for null.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
