//! Several YAML files as one mapping, which remembers where each key came from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ConfigError;

/// Top-level keys of all files; those of later files replace those of earlier ones.
#[derive(Debug)]
pub(super) struct Document {
    /// Values and the directories of the files they stand in.
    keys: BTreeMap<String, (Value, PathBuf)>,
}

impl Document {
    /// Reads all files; of a directory, its `*.yaml` files.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut keys = BTreeMap::new();
        for path in paths {
            for file in files(path)? {
                let mapping: BTreeMap<String, Value> = parse(&file, &read_text(&file)?)?;
                let directory = file.parent().unwrap_or(Path::new("")).to_owned();
                keys.extend(
                    mapping.into_iter().map(|(key, value)| (key, (value, directory.clone()))),
                );
            }
        }
        Ok(Self { keys })
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

    /// The directory of the file in which a key stands.
    pub(super) fn directory(&self, key: &str) -> &Path {
        self.keys.get(key).map_or(Path::new(""), |(_, directory)| directory)
    }

    /// The file that a path under `key` means.
    pub(super) fn resolve(&self, key: &str, path: &Path) -> PathBuf {
        let beside = self.directory(key).join(path);
        if !path.exists() && beside.exists() { beside } else { path.to_owned() }
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io_error = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(io_error)? {
        let file = entry.map_err(io_error)?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Io { path: path.to_owned(), source })
}

/// Reads YAML. What the parser says is dropped but for the line: it may quote the file.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.location().map_or(0, |location| location.line()),
    })
}

/// The text of a scalar: YAML reads `password: 12345` as a number.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
