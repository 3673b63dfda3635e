//! What an operator says of Synapse's configuration beyond its files.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use secrecy::SecretString;

use super::conninfo::Conninfo;
use crate::fs::hints;

/// Where the configuration is, and what is otherwise here than where Synapse runs.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Files and directories, in Synapse's order.
    pub files: Vec<PathBuf>,
    /// Where directories of a container are here.
    pub map: PathMap,
    /// Settings of the connection to PostgreSQL that replace those of the configuration.
    pub database: Option<Conninfo>,
    /// The password of that connection.
    pub database_password: Option<SecretString>,
}

impl From<&[PathBuf]> for Given {
    fn from(files: &[PathBuf]) -> Self {
        Self { files: files.to_vec(), ..Self::default() }
    }
}

/// Where the directories that the configuration names are here.
#[derive(Clone, Debug, Default)]
pub struct PathMap(Vec<MappedPath>);

/// A directory as the configuration names it, and as it is called here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappedPath {
    /// Where Synapse runs.
    pub there: PathBuf,
    /// Where the importer runs.
    pub here: PathBuf,
}

impl PathMap {
    /// Of these directories; where one holds another, the inner one counts.
    pub fn new(mut paths: Vec<MappedPath>) -> Self {
        paths.sort_by_key(|path| std::cmp::Reverse(path.there.components().count()));
        Self(paths)
    }

    /// The path as it is called here.
    pub(super) fn apply(&self, path: &Path) -> PathBuf {
        let mut fitting = self.0.iter().filter_map(|MappedPath { there, here }| {
            let rest = path.strip_prefix(there).ok()?;
            Some(if rest == Path::new("") { here.clone() } else { here.join(rest) })
        });
        fitting.next().unwrap_or_else(|| path.to_owned())
    }
}

impl MappedPath {
    /// What would make a path exist that is absolute and not there: something of the same name in `directory`, where the
    /// configuration is, or beside it.
    pub(super) fn propose(path: &Path, directory: &Path) -> Option<Self> {
        let directory = directory.canonicalize().ok()?;
        let around = [Some(directory.as_path()), directory.parent()];
        // The longest tail first: it is the least likely to be there by chance.
        let mut prefixes: Vec<_> = path.ancestors().skip(1).collect();
        prefixes.reverse();
        for there in prefixes {
            let Some(name) = there.file_name() else { continue };
            let tail = path.strip_prefix(there).ok()?;
            for around in around.into_iter().flatten() {
                let named = around.join(name);
                for here in [around, named.as_path()] {
                    if here.join(tail).exists() && here != there {
                        return Some(Self { there: there.to_owned(), here: here.to_owned() });
                    }
                }
            }
        }
        None
    }
}

impl std::fmt::Display for MappedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mapped = format!("{}={}", self.there.display(), self.here.display());
        write!(f, "--map-path {}", hints::word(mapped))
    }
}

impl FromStr for MappedPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (there, here) = text.split_once('=').ok_or("expected `THERE=HERE`, two directories")?;
        if !there.starts_with('/') || here.is_empty() {
            return Err(
                "expected `/THERE=HERE`: an absolute path of the configuration, and the same directory on this machine",
            );
        }
        Ok(Self { there: there.into(), here: here.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_directory_counts() {
        let map = |paths: &[&str]| PathMap::new(paths.iter().map(|p| p.parse().unwrap()).collect());
        let both = map(&["/data=/srv", "/data/media=/mnt/m"]);
        assert_eq!(both.apply(Path::new("/data/media/x")), Path::new("/mnt/m/x"));
        assert_eq!(both.apply(Path::new("/data")), Path::new("/srv"));
        assert_eq!(both.apply(Path::new("/database")), Path::new("/database"));
        assert_eq!(both.apply(Path::new("data/x")), Path::new("data/x"));
        assert!("data=/srv".parse::<MappedPath>().is_err());
        assert!("/data".parse::<MappedPath>().is_err());
    }

    #[test]
    fn what_would_make_a_path_exist_is_proposed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("conf")).unwrap();
        std::fs::create_dir_all(root.join("data/media_store")).unwrap();
        let propose = |path: &str| {
            MappedPath::propose(Path::new(path), &root.join("conf")).map(|path| path.to_string())
        };
        assert_eq!(
            propose("/data/media_store"),
            Some(format!("--map-path {}", hints::word(format!("/data={}/data", root.display()))))
        );
        assert_eq!(
            propose("/synapse/data/media_store"),
            Some(format!("--map-path {}", hints::word(format!("/synapse={}", root.display()))))
        );
        assert_eq!(propose("/data/nothing"), None);
    }
}
