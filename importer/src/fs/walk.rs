//! All files below a directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The files below `root`, sorted within each directory. Links are files, and not followed. A root that is not there
/// has none.
pub fn files_below(root: &Path) -> impl Iterator<Item = io::Result<PathBuf>> + use<> {
    let mut open = vec![entries(root)];
    std::iter::from_fn(move || {
        loop {
            let Some(entry) = open.last_mut()?.next() else {
                open.pop();
                continue;
            };
            match entry {
                Ok((path, true)) => open.push(entries(&path)),
                Ok((path, false)) => return Some(Ok(path)),
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

type Entry = io::Result<(PathBuf, bool)>;

/// A directory's entries, sorted, and whether each is a directory.
fn entries(directory: &Path) -> std::vec::IntoIter<Entry> {
    let read = || -> io::Result<Vec<_>> {
        let entries = fs::read_dir(directory)?.map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.file_type()?.is_dir()))
        });
        entries.collect()
    };
    let entries: Vec<Entry> = match read() {
        Ok(mut entries) => {
            entries.sort();
            entries.into_iter().map(Ok).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![Err(error)],
    };
    entries.into_iter()
}
