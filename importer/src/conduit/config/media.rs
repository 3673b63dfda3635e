//! `[global.media]`: where Conduit keeps files, and when it deletes them.

use std::{
    num::NonZeroU8,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Value;

use crate::fs::Layout;

/// Conduit's media settings (src/config/mod.rs:330-619).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// The media directory; `None` if media is in an S3 bucket.
    pub path: Option<PathBuf>,
    /// How it is split into folders.
    pub layout: Layout,
    /// Whether a retention policy deletes uploads of this server's own users after a time.
    pub deletes_uploads: bool,
}

#[derive(Default, Deserialize)]
pub(super) struct Section {
    backend: Option<String>,
    path: Option<PathBuf>,
    directory_structure: Option<toml::Table>,
    #[serde(default)]
    retention: Vec<Retention>,
}

#[derive(Deserialize)]
struct Retention {
    scope: Option<String>,
    accessed: Option<Value>,
    created: Option<Value>,
}

impl Section {
    /// # Errors
    ///
    /// What is wrong, without a value.
    pub(super) fn read(self, database_path: &Path) -> Result<MediaConfig, String> {
        let layout = self.directory_structure.map_or(Ok(Layout::default()), |table| layout(&table));
        let path = match self.backend.as_deref() {
            None | Some("filesystem") => {
                Some(self.path.unwrap_or_else(|| database_path.join("media")))
            }
            Some("s3") => None,
            Some(_) => return Err("`media.backend` is neither `filesystem` nor `s3`".into()),
        };
        // A policy without a scope is for the scopes that have none of their own.
        let has_local = |policy: &&Retention| policy.scope.as_deref() == Some("local");
        let own = self.retention.iter().find(has_local);
        let policy = own.or_else(|| self.retention.iter().find(|policy| policy.scope.is_none()));
        let deletes_uploads =
            policy.is_some_and(|policy| policy.accessed.is_some() || policy.created.is_some());
        Ok(MediaConfig { path, layout: layout?, deletes_uploads })
    }
}

/// Flat unless both numbers are there (src/config/mod.rs:541-566).
fn layout(table: &toml::Table) -> Result<Layout, String> {
    let number = |key: &str| {
        let number = table.get(key)?.as_integer()?;
        NonZeroU8::new(u8::try_from(number).ok()?)
    };
    match (number("length"), number("depth")) {
        (Some(length), Some(depth)) => Layout::deep(length, depth)
            .map_err(|error| format!("`media.directory_structure`: {error}")),
        _ => Ok(Layout::Flat),
    }
}
