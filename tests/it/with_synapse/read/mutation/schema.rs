//! Which tables and columns the importer reads: those that its queries name.

use std::{collections::BTreeSet, fs, path::Path};

/// A table that is read.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The names of all its columns that can be written.
    pub(super) all: Vec<String>,
    /// Rows, by what names them in SQL.
    pub(super) rows: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether it holds objects or lists of JSON.
    pub(super) json: bool,
}

/// What a column is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Truth,
    Text,
    Bytes,
    Json,
}

impl Kind {
    /// By its name in the catalogue.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        if ["int", "num", "serial"].iter().any(|part| name.contains(part)) {
            Some(Self::Number)
        } else if name.contains("bool") {
            Some(Self::Truth)
        } else if name.contains("json") {
            Some(Self::Json)
        } else if ["bytea", "blob"].iter().any(|part| name.contains(part)) {
            Some(Self::Bytes)
        } else if ["text", "char"].iter().any(|part| name.contains(part)) {
            Some(Self::Text)
        } else {
            None
        }
    }
}

/// All words of the sources that read a database.
pub(super) fn words() -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../importer/src/synapse/database");
    let mut words = BTreeSet::new();
    let mut folders = vec![sources.clone()];
    words_of(&sources.with_extension("rs"), &mut words);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                words_of(&path, &mut words);
            }
        }
    }
    assert!(words.contains("state_groups_state"));
    words
}

fn words_of(file: &Path, words: &mut BTreeSet<String>) {
    let text = fs::read_to_string(file).unwrap();
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    words.extend(text.split(|character| !is_part(character)).map(ToOwned::to_owned));
}
