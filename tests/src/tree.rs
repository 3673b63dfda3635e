//! A directory as a value: what a dump says, file by file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every file below a directory by its path in it.
///
/// # Errors
///
/// If a file can't be read.
pub fn read(directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory_here) = open.pop() {
        for entry in fs::read_dir(&directory_here)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(directory)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
