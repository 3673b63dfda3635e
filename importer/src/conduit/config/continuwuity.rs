//! Continuwuity's configuration, as far as a migration needs it. Defaults are its own (src/core/config/mod.rs at its revision
//! `09073235`). Other settings it passes over with a warning, Conduit's among them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use toml::{Table, Value};

use super::{
    ConduitConfig, ConduitConfigError, ConduitFiles, ConduitService, MediaConfig,
    document::CONTINUWUITY, form::at,
};
use crate::{
    conduit::{schema::dialect::Dialect, store::Backend},
    fs::Layout,
};

/// Conduit's settings that would change what users notice, and that Continuwuity passes over.
const OF_CONDUIT: [&str; 4] = ["database_backend", "media", "turn", "jwt_secret"];
/// With it, anybody can register.
const OPEN: &str = "yes_i_am_very_very_sure_i_want_an_open_registration_server_prone_to_abuse";
/// Continuwuity's default (src/core/config/mod.rs:113).
const PORT: u16 = 8008;

pub(super) fn read(files: &ConduitFiles) -> Result<ConduitConfig, ConduitConfigError> {
    let settings = files.read(&CONTINUWUITY)?;
    let has_variables = !files.environment.is_empty();
    let named = |setting: &str| {
        let variable = if has_variables {
            format!(" (`CONTINUWUITY_{}`)", setting.to_ascii_uppercase())
        } else {
            String::new()
        };
        format!("`{setting}`{variable}")
    };
    let wrong = |reason| ConduitConfigError::Parse {
        dialect: Dialect::Continuwuity,
        path: files.name(),
        reason,
    };
    if let Some(setting) = OF_CONDUIT.into_iter().find(|setting| settings.contains_key(*setting)) {
        return Err(wrong(format!(
            "{} is a setting of Conduit's, which Continuwuity ignores; give Continuwuity's own configuration, or remove the setting",
            named(setting)
        )));
    }
    let needed = |setting: &str, what: &str| match settings.get(setting) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(format!("{} is not text", named(setting)))),
        None => Err(wrong(format!("{} is missing; set it to {what}", named(setting)))),
    };
    let server_name = needed("server_name", "the server's name")?;
    if ruma::ServerName::parse(&server_name).is_err() {
        return Err(wrong(format!("{} is no server name", named("server_name"))));
    }
    let database_path = PathBuf::from(needed("database_path", "the directory of the database")?);
    Ok(ConduitConfig {
        service: service(&settings, &server_name, has_variables),
        media: MediaConfig {
            path: Some(database_path.join("media")),
            layout: Layout::Flat,
            deletes_uploads: false,
        },
        server_name,
        database_path,
        backend: Backend::Rocksdb,
    })
}

fn service(settings: &Table, name: &str, has_variables: bool) -> ConduitService {
    let text = |path: &str| at(settings, path).and_then(Value::as_str);
    let is_on =
        |path: &str, default: bool| at(settings, path).and_then(Value::as_bool).unwrap_or(default);
    let first = |path: &str| match at(settings, path) {
        Some(Value::Array(list)) => list.first(),
        other => other,
    };
    let address: Option<IpAddr> =
        first("address").and_then(Value::as_str).and_then(|address| address.parse().ok());
    let port = first("port").and_then(Value::as_integer).and_then(|port| u16::try_from(port).ok());
    let size = at(settings, "max_request_size").and_then(Value::as_integer);
    let has_port = ruma::ServerName::parse(name).is_ok_and(|name| name.port().is_some());
    ConduitService {
        listen: SocketAddr::new(
            address.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port.unwrap_or(PORT),
        ),
        registration: is_on("allow_registration", true) && is_on(OPEN, false),
        empty_token: text("registration_token") == Some(""),
        federation: is_on("allow_federation", true),
        max_request_bytes: size.and_then(|size| u64::try_from(size).ok()).unwrap_or(20 << 20),
        turn: matches!(at(settings, "turn_uris"), Some(Value::Array(uris)) if !uris.is_empty()),
        jwt: false,
        client: text("well_known.client")
            .map_or_else(|| format!("https://{name}"), ToOwned::to_owned),
        server: text("well_known.server").map_or_else(
            || if has_port { name.to_owned() } else { format!("{name}:8448") },
            ToOwned::to_owned,
        ),
        media_retention: false,
        tls: ["tls.certs", "tls.key"].into_iter().filter_map(text).map(PathBuf::from).collect(),
        has_variables,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, environment: &str) -> Result<ConduitConfig, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = ConduitFiles {
            config: Some(path("continuwuity.toml", text)),
            environment: vec![path("env", environment)],
        };
        read(&files).map_err(|error| {
            error.to_string().replace(&directory.path().display().to_string(), "DIR")
        })
    }

    const GLOBAL: &str = "[global]\nserver_name = \"a.test\"\ndatabase_path = \"/var/lib/c\"\n";

    #[test]
    fn its_own_defaults_hold() {
        let config = read_text(GLOBAL, "").unwrap();
        assert_eq!(config.database_path, PathBuf::from("/var/lib/c"));
        assert_eq!(config.backend, Backend::Rocksdb);
        assert_eq!(config.media.path, Some("/var/lib/c/media".into()));
        let service = config.service;
        assert_eq!(service.listen, "127.0.0.1:8008".parse().unwrap());
        assert!(service.federation && !service.registration && !service.turn);
        assert_eq!(
            (service.client.as_str(), service.server.as_str()),
            ("https://a.test", "a.test:8448")
        );
    }

    #[test]
    fn what_is_set_counts_and_the_last_prefix_wins() {
        let text = format!(
            "{GLOBAL}port = [6167, 8448]\naddress = [\"::1\"]\nallow_federation = false\n{OPEN} = true\nturn_uris = [\"turn:t\"]\n"
        );
        let environment = "CONTINUWUITY_WELL_KNOWN__CLIENT=https://m.a.test\nCONDUIT_PORT=1\nCONTINUWUITY_PORT=2\nCONDUWUIT_PORT=3\n";
        let service = read_text(&text, "").unwrap().service;
        assert_eq!(service.listen, "[::1]:6167".parse().unwrap());
        assert!(!service.federation && service.registration && service.turn);
        let service = read_text(&text, environment).unwrap().service;
        assert_eq!(service.listen.port(), 2);
        assert_eq!(service.client, "https://m.a.test");
    }

    #[test]
    fn a_configuration_of_conduits_and_one_without_a_name_are_refused() {
        let conduits = format!("{GLOBAL}database_backend = \"rocksdb\"\n");
        assert_eq!(
            read_text(&conduits, "").unwrap_err(),
            "Continuwuity's configuration `DIR/continuwuity.toml`: `database_backend` (`CONTINUWUITY_DATABASE_BACKEND`) is a setting of \
             Conduit's, which Continuwuity ignores; give Continuwuity's own configuration, or remove the setting"
        );
        let error = read_text("[global]\ndatabase_path = \"/x\"\n", "").unwrap_err();
        assert!(error.contains("`server_name`") && error.contains("is missing"), "{error}");
    }
}
