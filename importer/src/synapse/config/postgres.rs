//! What reaches a PostgreSQL database: the settings of its own library, which Synapse hands on as they stand.
//!
//! A setting that the importer does not know could lead to another database, or to a connection that its owner would not
//! have trusted: it is refused by its name. Environment variables and service files count as they do there
//! (<https://www.postgresql.org/docs/current/libpq-envars.html>, `libpq-pgservice.html`).

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::conninfo::Conninfo;

/// How to reach a PostgreSQL database. What is absent has the defaults of PostgreSQL's own library.
#[derive(Clone, Debug, Default)]
pub struct PostgresConfig {
    /// A host name, an address, or the directory of a Unix socket; or several, between commas.
    pub host: Option<String>,
    /// Addresses to be used instead of looking the names up.
    pub hostaddr: Option<String>,
    /// The port, or one for each host.
    pub port: Option<String>,
    /// The role.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// A file with passwords, instead of `~/.pgpass`.
    pub passfile: Option<PathBuf>,
    /// The database's name.
    pub database: Option<String>,
    /// Options for the server, such as `-c search_path=matrix`.
    pub options: Option<String>,
    /// `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub sslmode: Option<String>,
    /// Certificates of those who may certify the server.
    pub sslrootcert: Option<PathBuf>,
    /// The client's certificate.
    pub sslcert: Option<PathBuf>,
    /// Its key.
    pub sslkey: Option<PathBuf>,
    /// Which of several servers will do.
    pub target_session_attrs: Option<String>,
    /// Seconds to wait for a server.
    pub connect_timeout: Option<String>,
}

/// What becomes of a setting.
enum Rule {
    /// It is used.
    Used,
    /// It makes no difference to what is read.
    NoDifference,
    /// Only these values are as if it were absent.
    OnlyIf(&'static [&'static str]),
}
use Rule::{NoDifference, OnlyIf, Used};

/// Settings, their environment variables, and what becomes of them. Those that are not here are refused.
const SETTINGS: &[(&str, &str, Rule)] = &[
    ("host", "PGHOST", Used),
    ("hostaddr", "PGHOSTADDR", Used),
    ("port", "PGPORT", Used),
    ("user", "PGUSER", Used),
    ("password", "PGPASSWORD", Used),
    ("passfile", "PGPASSFILE", Used),
    ("dbname", "PGDATABASE", Used),
    ("options", "PGOPTIONS", Used),
    ("sslmode", "PGSSLMODE", Used),
    ("sslrootcert", "PGSSLROOTCERT", Used),
    ("sslcert", "PGSSLCERT", Used),
    ("sslkey", "PGSSLKEY", Used),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Used),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Used),
    ("application_name", "PGAPPNAME", NoDifference),
    ("fallback_application_name", "", NoDifference),
    ("client_encoding", "PGCLIENTENCODING", NoDifference),
    ("keepalives", "", NoDifference),
    ("keepalives_idle", "", NoDifference),
    ("keepalives_interval", "", NoDifference),
    ("keepalives_count", "", NoDifference),
    ("tcp_user_timeout", "", NoDifference),
    ("sslcompression", "PGSSLCOMPRESSION", NoDifference),
    ("sslsni", "PGSSLSNI", NoDifference),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", NoDifference),
    ("krbsrvname", "PGKRBSRVNAME", NoDifference),
    ("gsslib", "PGGSSLIB", NoDifference),
    ("gssdelegation", "PGGSSDELEGATION", NoDifference),
    ("sslnegotiation", "PGSSLNEGOTIATION", OnlyIf(&["postgres"])),
    ("gssencmode", "PGGSSENCMODE", OnlyIf(&["disable", "prefer"])),
    ("channel_binding", "PGCHANNELBINDING", OnlyIf(&["disable", "prefer"])),
    ("sslcertmode", "PGSSLCERTMODE", OnlyIf(&["allow"])),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        OnlyIf(&["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", OnlyIf(&["TLSv1.3"])),
    ("sslcrl", "PGSSLCRL", OnlyIf(&[])),
    ("sslcrldir", "PGSSLCRLDIR", OnlyIf(&[])),
    ("requirepeer", "PGREQUIREPEER", OnlyIf(&[])),
    ("require_auth", "PGREQUIREAUTH", OnlyIf(&[])),
];

/// Why settings can't be used. Without a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A setting that is not known, or with a value that is not: its name, or that of the environment variable.
    Setting(String),
    /// A service that no file describes.
    Service,
}

impl PostgresConfig {
    /// Of settings, an environment, and what `path` makes of paths.
    pub(super) fn new(
        mut settings: Conninfo,
        environment: impl Fn(&str) -> Option<String>,
        path: impl Fn(&Path) -> PathBuf,
    ) -> Result<Self, Refused> {
        let service =
            settings.get("service").map(str::to_owned).or_else(|| environment("PGSERVICE"));
        if let Some(service) = service {
            let mut whole = described(&service, &settings, &environment).ok_or(Refused::Service)?;
            whole.extend(settings);
            settings = whole;
        }
        settings.remove("service");
        settings.remove("servicefile");
        let named: Vec<_> = settings.keys().map(str::to_owned).collect();
        for (key, variable, _) in SETTINGS {
            if settings.get(key).is_none()
                && let Some(value) = environment(variable).filter(|_| !variable.is_empty())
            {
                settings.set(*key, value);
            }
        }
        for key in settings.keys() {
            let setting = SETTINGS.iter().find(|(name, _, _)| *name == key);
            let known = setting.is_some_and(|(_, _, rule)| match rule {
                Used | NoDifference => true,
                OnlyIf(values) => {
                    let value = settings.get(key).unwrap_or_default();
                    value.is_empty() || values.contains(&value)
                }
            });
            if !known {
                let variable = setting.filter(|_| !named.iter().any(|name| name == key));
                return Err(Refused::Setting(variable.map_or(key, |(_, name, _)| name).to_owned()));
            }
        }
        Ok(Self::of(&settings, path))
    }

    fn of(settings: &Conninfo, path: impl Fn(&Path) -> PathBuf) -> Self {
        let text = |key: &str| settings.get(key).map(str::to_owned);
        let file = |key: &str| {
            let file = settings.get(key).filter(|file| !file.is_empty())?;
            Some(if file == "system" { file.into() } else { path(Path::new(file)) })
        };
        // A directory of sockets may be in a container, too.
        let host = |host: &str| {
            if host.starts_with('/') {
                path(Path::new(host)).display().to_string()
            } else {
                host.to_owned()
            }
        };
        let hosts =
            settings.get("host").map(|hosts| hosts.split(',').map(host).collect::<Vec<_>>());
        Self {
            host: hosts.map(|hosts| hosts.join(",")),
            hostaddr: text("hostaddr"),
            port: text("port"),
            user: text("user"),
            password: text("password").map(SecretString::from),
            passfile: file("passfile"),
            database: text("dbname"),
            options: text("options"),
            sslmode: text("sslmode"),
            sslrootcert: file("sslrootcert"),
            sslcert: file("sslcert"),
            sslkey: file("sslkey"),
            target_session_attrs: text("target_session_attrs"),
            connect_timeout: text("connect_timeout"),
        }
    }
}

/// The settings of a service, from the first file that describes it.
fn described(
    service: &str,
    settings: &Conninfo,
    environment: impl Fn(&str) -> Option<String>,
) -> Option<Conninfo> {
    let named =
        settings.get("servicefile").map(str::to_owned).or_else(|| environment("PGSERVICEFILE"));
    let own = named
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&environment("HOME")?).join(".pg_service.conf")));
    let directory = environment("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".into());
    let all = Path::new(&directory).join("pg_service.conf");
    own.into_iter()
        .chain([all])
        .find_map(|file| section(&std::fs::read_to_string(file).ok()?, service))
}

/// The settings under `[service]`.
fn section(text: &str, service: &str) -> Option<Conninfo> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| {
        line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) == Some(service)
    })?;
    let mut settings = Conninfo::default();
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=')?;
        settings.set(key, value);
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<PostgresConfig, Refused> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        PostgresConfig::new(text.parse().unwrap(), variable, Path::to_owned)
    }

    #[test]
    fn a_setting_counts_more_than_the_environment() {
        let config =
            read("host=a port=1", &[("PGHOST", "b"), ("PGUSER", "me"), ("PGSSLMODE", "require")])
                .unwrap();
        assert_eq!(config.host.as_deref(), Some("a"));
        assert_eq!(config.user.as_deref(), Some("me"));
        assert_eq!(config.sslmode.as_deref(), Some("require"));
        assert_eq!(read("host=''", &[("PGHOST", "b")]).unwrap().host.as_deref(), Some(""));
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let refused = |text: &str, environment: &[(&str, &str)]| match read(text, environment) {
            Err(Refused::Setting(name)) => name,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(refused("sslcrl=x", &[]), "sslcrl");
        assert_eq!(refused("connection_factory=x", &[]), "connection_factory");
        assert_eq!(refused("channel_binding=require", &[]), "channel_binding");
        assert_eq!(refused("", &[("PGREQUIREPEER", "postgres")]), "PGREQUIREPEER");
        assert!(read("channel_binding=prefer keepalives=1 gssencmode=disable", &[]).is_ok());
    }

    #[test]
    fn a_service_is_read_from_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "# x\n[other]\nhost=o\n[synapse]\nhost=s\n dbname=matrix\n\n[last]\nport=9\n",
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        let environment = [("PGSERVICEFILE", path), ("PGHOST", "environment")];
        let config = read("service=synapse dbname=mine", &environment).unwrap();
        assert_eq!(
            (config.host.as_deref(), config.database.as_deref(), config.port.as_deref()),
            (Some("s"), Some("mine"), None)
        );
        let nowhere =
            read("service=nowhere", &[("PGSERVICEFILE", path), ("PGSYSCONFDIR", "/nowhere")]);
        assert_eq!(nowhere.err(), Some(Refused::Service));
    }
}
