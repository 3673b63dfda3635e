//! Conduit's configuration: where the database and the media files are to be, and how Conduit will be operated.

mod continuwuity;
mod document;
mod form;
mod media;
mod service;

use std::path::PathBuf;

use toml::{Table, Value};

pub use self::{document::ConduitFiles, media::MediaConfig, service::ConduitService};
use crate::conduit::{schema::dialect::Dialect, store::Backend};

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
    /// The rest.
    pub service: ConduitService,
}

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConduitConfigError {
    /// The file can't be read.
    #[error("reading {dialect}'s configuration `{}`; run the importer as a user who may read it, or correct `--conduit-config`; if `CONDUIT_CONFIG` in `--conduit-env` is a path in a container, name the file on this machine with `--conduit-config FILE`", path.display())]
    Io {
        /// Whose.
        dialect: Dialect,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or a needed setting is absent.
    #[error("{dialect}'s configuration `{}`: {reason}", path.display())]
    Parse {
        /// Whose.
        dialect: Dialect,
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

impl ConduitConfig {
    /// Reads the configuration of a server. A relative `database_path` counts from the working directory, as for Conduit.
    ///
    /// # Errors
    ///
    /// [`ConduitConfigError`].
    pub fn read(files: &ConduitFiles, dialect: Dialect) -> Result<Self, ConduitConfigError> {
        if dialect == Dialect::Continuwuity {
            return continuwuity::read(files);
        }
        let settings = files.read(&document::CONDUIT)?;
        let wrong = |reason| ConduitConfigError::Parse { dialect, path: files.name(), reason };
        let has_variables = !files.environment.is_empty();
        form::check(&settings, has_variables).map_err(wrong)?;
        let text = |key: &str| settings.get(key).and_then(Value::as_str).unwrap_or_default();
        let backend = match text("database_backend") {
            "rocksdb" => Backend::Rocksdb,
            "sqlite" => Backend::Sqlite,
            other => {
                return Err(ConduitConfigError::Backend {
                    path: files.name(),
                    backend: other.to_owned(),
                });
            }
        };
        let database_path = PathBuf::from(text("database_path"));
        let media = match settings.get("media").and_then(Value::as_table) {
            Some(table) => section(table).map_err(wrong)?,
            None => media::Section::default(),
        };
        Ok(Self {
            server_name: text("server_name").to_owned(),
            media: media.read(&database_path).map_err(wrong)?,
            database_path,
            backend,
            service: ConduitService::of(&settings, has_variables),
        })
    }
}

fn section(table: &Table) -> Result<media::Section, String> {
    // What serde says may quote a value.
    table.clone().try_into().map_err(|_quotes| {
        "`media.retention` or `media.directory_structure` has a form that Conduit can't read"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Layout;

    fn read(text: &str) -> Result<ConduitConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ConduitConfig::read(&ConduitFiles::file(file.path().to_owned()), Dialect::Conduit)
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
        let service = ConduitService {
            listen: "127.0.0.1:6167".parse().unwrap(),
            registration: false,
            empty_token: false,
            federation: false,
            max_request_bytes: 20 << 20,
            turn: false,
            jwt: false,
            client: "https://a.test".into(),
            server: "a.test:443".into(),
            media_retention: false,
            tls: Vec::new(),
            has_variables: false,
        };
        let expected = ConduitConfig {
            server_name: "a.test".into(),
            database_path: "/var/lib/x".into(),
            backend: Backend::Sqlite,
            media,
            service: service.clone(),
        };
        assert_eq!(read(GLOBAL), Ok(expected.clone()));
        let more = "address = \"::1\"\nallow_registration = true\nallow_federation = true\nmax_request_size = 5\n\
                    registration_token = \"\"\njwt_secret = \"x\"\nturn_uris = [\"turn:t\"]\nturn_secret = \"x\"\n\
                    tls = { certs = \"c\", key = \"k\" }\n\
                    well_known = { client = \"https://m.a.test\", server = \"m.a.test:8448\" }\n";
        let other = ConduitService {
            listen: "[::1]:6167".parse().unwrap(),
            registration: true,
            empty_token: true,
            federation: true,
            max_request_bytes: 5,
            turn: true,
            jwt: true,
            client: "https://m.a.test".into(),
            server: "m.a.test:8448".into(),
            media_retention: false,
            tls: vec!["c".into(), "k".into()],
            has_variables: false,
        };
        assert_eq!(read(&format!("{GLOBAL}{more}")).map(|config| config.service), Ok(other));
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
        let s3 = "[global.media]\nbackend = \"s3\"\nbucket = \"b\"\nregion = \"r\"\nkey = \"hush\"\nsecret = \"hush\"\n";
        assert_eq!(media(&format!("{s3}endpoint = \"https://s3.test\"\n")).unwrap().path, None);
        assert!(media(s3).unwrap_err().contains("`media.endpoint` is missing"));
        assert!(media("[global.media]\nbackend = \"tape\"\n").unwrap_err().contains("neither"));
    }

    #[test]
    fn policies_that_delete_uploads_are_known() {
        let deletes = |policies: &str| {
            media(&format!("[global.media]\nbackend = \"filesystem\"\nretention = [{policies}]\n"))
                .unwrap()
                .deletes_uploads
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
        for (text, expected) in [
            ("jwt_secret = 1234", "`jwt_secret` is not a text"),
            ("registration_token = [\"hush\"]", "`registration_token` is not a text"),
            ("port = \"hush\"", "`port` is not a whole number from 0 to 65535"),
            ("port = 70000", "`port` is not a whole number from 0 to 65535"),
            ("address = \"localhost\"", "`address` is not an IP address"),
            ("allow_federation = \"yes\"", "`allow_federation` is not `true` or `false`"),
            ("well_known = { client = \"m.a.test\" }", "`well_known.client` is not a URL"),
            ("trusted_servers = [\"https://hush\"]", "`trusted_servers` is not a list"),
            ("turn = { uris = [\"turn:x\"], username = \"hush\" }", "`turn` has neither"),
            ("turn = { secret = \"hush\" }", "`turn.uris` is missing"),
            ("tls = { certs = \"hush\" }", "`tls.key` is missing"),
            // Seen with a real Conduit: "missing field `backend`".
            ("media = { path = \"hush\" }", "`media.backend` is missing"),
            ("media = { backend = \"filesystem\", retention = [{ scope = \"hush\" }] }", "`scope`"),
            (
                "media = { backend = \"filesystem\", retention = [{ created = \"1 hush\" }] }",
                "`created`",
            ),
        ] {
            let without_port = GLOBAL.replace("port = 6167\n", "");
            let error = read(&format!("{without_port}{text}\n")).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hush"), "{text}: {error}");
        }
        let without = read("[global]\nserver_name = \"a.test\"\njwt_secret = \"hush\"\n");
        insta::assert_debug_snapshot!(without, @r#"
        Err(
            "Conduit's configuration `FILE`: `database_backend` is missing; set it to `rocksdb` or `sqlite`",
        )
        "#);
        let sled = read(
            "[global]\nserver_name = \"a\"\ndatabase_path = \"/\"\ndatabase_backend = \"sled\"\n",
        );
        assert!(sled.unwrap_err().contains("`sled`"));
    }

    #[test]
    fn settings_are_named_with_their_variables_if_there_are_any() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let environment = vec![file.path().to_owned()];
        let files = ConduitFiles { config: None, environment };
        for (text, expected) in [
            ("", "`server_name` (`CONDUIT_SERVER_NAME`) is missing; set it to the server's name"),
            ("CONDUIT_MEDIA_PATH=1", "`media.path` (`CONDUIT_MEDIA_PATH`) is not a text"),
            ("CONDUIT_TURN={ uris = 1 }", "`turn.uris` is not a list of texts"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = ConduitConfig::read(&files, Dialect::Conduit).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// The settings of Conduit's own example (conduit-example.toml). Unchanged, it names no server; with one, the empty token
    /// keeps Conduit from starting. Debian's package writes the same path (debian/postinst).
    #[test]
    fn conduits_example_is_read() {
        let example = "[global]\ndatabase_backend = \"rocksdb\"\ndatabase_path = \"/var/lib/matrix-conduit/\"\n\
                       port = 6167\nmax_request_size = 20_000_000\nallow_registration = true\n\
                       registration_token = \"\"\nallow_check_for_updates = true\nallow_federation = true\n\
                       enable_lightning_bolt = true\ntrusted_servers = [\"matrix.org\"]\naddress = \"127.0.0.1\"\n\
                       [global.well_known]\n";
        assert!(read(example).unwrap_err().contains("`server_name` is missing"));
        let named = example.replace("[global]\n", "[global]\nserver_name = \"a.test\"\n");
        let config = read(&named).unwrap();
        assert!(config.service.empty_token);
        assert_eq!(config.service.client, "https://a.test");
        let directory = crate::fs::atomic_dir::normal(&config.database_path);
        // On a machine with a Conduit, that may be a link.
        assert_eq!(
            directory,
            crate::fs::atomic_dir::normal(std::path::Path::new("/var/lib/matrix-conduit"))
        );
    }

    /// The variables of the example for Docker Compose (docs/deploying/docker-compose.yml), where there is no file.
    #[test]
    fn variables_alone_are_a_configuration() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let variables = "CONDUIT_SERVER_NAME=your.server.name\nCONDUIT_DATABASE_PATH=/var/lib/matrix-conduit/\n\
                         CONDUIT_DATABASE_BACKEND=rocksdb\nCONDUIT_PORT=6167\nCONDUIT_MAX_REQUEST_SIZE=20000000\n\
                         CONDUIT_ALLOW_REGISTRATION=true\nCONDUIT_ALLOW_FEDERATION=true\n\
                         CONDUIT_TRUSTED_SERVERS=[\"matrix.org\"]\nCONDUIT_ADDRESS=0.0.0.0\nCONDUIT_CONFIG=\n";
        std::fs::write(file.path(), variables).unwrap();
        let files = ConduitFiles { config: None, environment: vec![file.path().to_owned()] };
        let config = ConduitConfig::read(&files, Dialect::Conduit).unwrap();
        assert_eq!(config.server_name, "your.server.name");
        assert_eq!(config.database_path, PathBuf::from("/var/lib/matrix-conduit/"));
        assert_eq!(config.media.path, Some("/var/lib/matrix-conduit/media".into()));
        let service = config.service;
        assert_eq!(service.listen, "0.0.0.0:6167".parse().unwrap());
        assert!(service.registration && service.federation);
        assert_eq!(service.max_request_bytes, 20_000_000);
    }
}
