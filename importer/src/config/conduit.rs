//! `conduit.toml`: where the database and the media files are to be.

mod media;

mod service;

use std::path::{Path, PathBuf};

use serde::{Deserialize, de::DeserializeOwned};

pub use self::{media::MediaConfig, service::ConduitService};
use crate::conduit::kv::Backend;

/// What a migration needs of Conduit's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConduitConfig {
    /// `server_name`.
    pub server_name: String,
    /// `database_path`.
    pub database_path: PathBuf,
    /// `database_backend`.
    pub backend: Backend,
    /// `media`.
    pub media: MediaConfig,
}

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConduitConfigError {
    /// The file can't be read.
    #[error("reading Conduit's configuration `{}`; run the importer as a user who may read it, or correct `--conduit-config`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or a needed setting is absent.
    #[error("Conduit's configuration `{}`: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// An engine that Conduit no longer opens.
    #[error("Conduit's configuration `{}` names the engine `{backend}`; the importer writes `rocksdb` and `sqlite`", path.display())]
    Backend {
        /// The file.
        path: PathBuf,
        /// The engine.
        backend: String,
    },
}

/// The file's form: everything is under `[global]`, other settings are ignored (src/config/mod.rs:26-125).
#[derive(Deserialize)]
struct File {
    global: Global,
}

#[derive(Deserialize)]
struct Global {
    server_name: String,
    database_path: PathBuf,
    database_backend: String,
    #[serde(default)]
    media: media::Section,
}

impl ConduitConfig {
    /// Reads the configuration. A relative `database_path` counts from the working directory, as for Conduit.
    ///
    /// # Errors
    ///
    /// [`ConduitConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConduitConfigError> {
        let file: File = parse(path)?;
        let backend = match file.global.database_backend.as_str() {
            "rocksdb" => Backend::Rocksdb,
            "sqlite" => Backend::Sqlite,
            other => {
                return Err(ConduitConfigError::Backend {
                    path: path.to_owned(),
                    backend: other.to_owned(),
                });
            }
        };
        let media = file.global.media.read(&file.global.database_path);
        let media =
            media.map_err(|reason| ConduitConfigError::Parse { path: path.to_owned(), reason })?;
        Ok(Self {
            server_name: file.global.server_name,
            database_path: file.global.database_path,
            backend,
            media,
        })
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, ConduitConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConduitConfigError::Io { path: path.to_owned(), source })?;
    // The whole error shows the offending line, and lines may hold secrets.
    toml::from_str(&text).map_err(|error| ConduitConfigError::Parse {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Layout;

    fn read(text: &str) -> Result<ConduitConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ConduitConfig::read(file.path())
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    const GLOBAL: &str = "[global]\nserver_name = \"a.test\"\ndatabase_path = \"/var/lib/x\"\n\
                          database_backend = \"sqlite\"\nport = 6167\n";

    #[test]
    fn what_is_needed_is_read_and_the_rest_ignored() {
        let media = MediaConfig {
            path: Some("/var/lib/x/media".into()),
            layout: Layout::default(),
            deletes_uploads: false,
        };
        let expected = ConduitConfig {
            server_name: "a.test".into(),
            database_path: "/var/lib/x".into(),
            backend: Backend::Sqlite,
            media,
        };
        assert_eq!(read(GLOBAL), Ok(expected.clone()));
        let with_backend = format!("{GLOBAL}[global.media]\nbackend = \"filesystem\"\n");
        assert_eq!(read(&with_backend), Ok(expected));
    }

    fn media(text: &str) -> Result<MediaConfig, String> {
        read(&format!("{GLOBAL}{text}")).map(|config| config.media)
    }

    #[test]
    fn media_settings_mean_what_they_mean_to_conduit() {
        let filesystem = "[global.media]\nbackend = \"filesystem\"\n";
        let structure = "[global.media.directory_structure]\n";
        let layout =
            |text: &str| media(&format!("{filesystem}{structure}{text}")).map(|m| m.layout);
        assert_eq!(layout(""), Ok(Layout::Flat));
        assert_eq!(layout("length = 3\n"), Ok(Layout::Flat));
        let [three, one] = [3, 1].map(|number| std::num::NonZeroU8::new(number).unwrap());
        let deep = Layout::Deep { length: three, depth: one };
        assert_eq!(layout("length = 3\ndepth = 1\n"), Ok(deep));
        assert!(layout("length = 8\ndepth = 8\n").unwrap_err().contains("less than 64"));

        let elsewhere = media(&format!("{filesystem}path = \"/srv/media\"\n")).unwrap();
        assert_eq!(elsewhere.path, Some("/srv/media".into()));
        assert_eq!(media("[global.media]\nbackend = \"s3\"\nbucket = \"b\"\n").unwrap().path, None);
        assert!(media("[global.media]\nbackend = \"tape\"\n").unwrap_err().contains("neither"));
    }

    #[test]
    fn policies_that_delete_uploads_are_known() {
        let deletes = |policies: &str| {
            media(&format!("[global.media]\nretention = [{policies}]\n")).unwrap().deletes_uploads
        };
        assert!(!deletes(""));
        assert!(!deletes("{ scope = \"remote\", accessed = \"30d\" }"));
        assert!(deletes("{ scope = \"local\", created = \"1y\" }"));
        assert!(deletes("{ accessed = \"1y\" }"));
        assert!(!deletes("{ accessed = \"1y\" }, { scope = \"local\" }"));
        assert!(!deletes("{ space = \"9GB\" }"));
    }

    #[test]
    fn errors_name_the_setting_and_no_secret() {
        let without = read("[global]\nserver_name = \"a.test\"\njwt_secret = \"hush\"\n");
        insta::assert_debug_snapshot!(without, @r#"
        Err(
            "Conduit's configuration `FILE`: missing field `database_path`",
        )
        "#);
        let sled = read(
            "[global]\nserver_name = \"a\"\ndatabase_path = \"/\"\ndatabase_backend = \"sled\"\n",
        );
        assert!(sled.unwrap_err().contains("`sled`"));
    }
}
