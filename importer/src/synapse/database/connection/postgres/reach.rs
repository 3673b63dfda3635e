//! Where PostgreSQL's own library would connect to, by the same settings: hosts in their order, each over TLS or not.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::password;
use crate::synapse::{
    config::PostgresConfig,
    database::{DatabaseError, connection::STATEMENTS},
};

/// Where distributions let PostgreSQL have its socket.
const SOCKETS: &str = "/var/run/postgresql";
/// PostgreSQL's port.
const PORT: u16 = 5432;

/// A way to a server.
#[derive(Debug)]
pub(super) struct Place {
    /// For messages.
    pub(super) address: String,
    /// What is tried, in this order.
    pub(super) attempts: Vec<PgConnectOptions>,
}

/// The servers that may be tried, in their order.
pub(super) fn places(config: &PostgresConfig) -> Result<Vec<Place>, DatabaseError> {
    let refused = |key| DatabaseError::Setting { key };
    let list = |text: &Option<String>| -> Vec<String> {
        text.as_deref().map_or(Vec::new(), |text| text.split(',').map(str::to_owned).collect())
    };
    let (names, addresses) = (list(&config.host), list(&config.hostaddr));
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(refused("hostaddr"));
    }
    let number = names.len().max(addresses.len()).max(1);
    let ports = list(&config.port);
    if ports.len() > 1 && ports.len() != number {
        return Err(refused("port"));
    }
    let common = common(config)?;
    (0..number)
        .map(|index| {
            let port = ports.get(index).or(ports.first()).map_or("", |port| port.trim());
            let port = if port.is_empty() { Ok(PORT) } else { port.parse() };
            let port = port.map_err(|_secret| refused("port"))?;
            let of = |list: &[String]| list.get(index).filter(|text| !text.is_empty()).cloned();
            place(config, &common, of(&names), of(&addresses), port)
        })
        .collect()
}

fn place(
    config: &PostgresConfig,
    common: &PgConnectOptions,
    name: Option<String>,
    address: Option<String>,
    port: u16,
) -> Result<Place, DatabaseError> {
    let host = address.clone().or_else(|| name.clone()).unwrap_or_else(|| default_host(port));
    let is_socket = host.starts_with('/');
    let options = common.clone().port(port);
    let mut options = if is_socket { options.socket(&host) } else { options.host(&host) };
    let user = options.get_username().to_owned();
    let database = options.get_database().unwrap_or(&user).to_owned();
    let password = config.password.as_ref().map(|password| password.expose_secret().to_owned());
    let named = name.unwrap_or(host.clone());
    let password = password.filter(|password| !password.is_empty()).or_else(|| {
        let host = if is_socket && named == default_host(port) { "localhost" } else { &named };
        password::find(config.passfile.as_deref(), [host, &port.to_string(), &database, &user])
    });
    if let Some(password) = password {
        options = options.password(&password);
    }
    let mode = config.sslmode.as_deref();
    let attempts = if is_socket {
        // As in PostgreSQL's own library, which makes no use of TLS there.
        vec![options.ssl_mode(PgSslMode::Disable)]
    } else {
        if address.is_some_and(|address| address != named) && mode == Some("verify-full") {
            // The name would have to be certified, and the address is what is known here.
            return Err(DatabaseError::Setting { key: "hostaddr" });
        }
        tls(config, &options)?
    };
    Ok(Place { address: format!("{host}, port {port}"), attempts })
}

/// What is the same for all servers.
fn common(config: &PostgresConfig) -> Result<PgConnectOptions, DatabaseError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let user = given(&config.user).or_else(system_user);
    let user = user.ok_or(DatabaseError::Setting { key: "user" })?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .statement_cache_capacity(STATEMENTS)
        .application_name("importer")
        .username(&user)
        .database(&given(&config.database).unwrap_or(user));
    if let Some(text) = given(&config.options) {
        let settings = server_options(&text).ok_or(DatabaseError::Setting { key: "options" })?;
        options = options.options(settings);
    }
    Ok(options)
}

/// The name that the system has for who runs this.
fn system_user() -> Option<String> {
    let output = std::process::Command::new("id").arg("-un").output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(name).filter(|name| output.status.success() && !name.is_empty())
}

/// Where PostgreSQL's own library looks without a host.
fn default_host(port: u16) -> String {
    let directories = [SOCKETS, "/run/postgresql", "/tmp"];
    let socket = |directory: &&&str| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists();
    directories.iter().find(socket).unwrap_or(&SOCKETS).to_owned().to_owned()
}

/// Settings among options for the server: `-c NAME=VALUE` or `--NAME=VALUE`, with `\` before a blank that belongs to it.
/// `None` if there is anything else.
fn server_options(text: &str) -> Option<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => words.last_mut()?.extend(rest.next()),
            c if c.is_ascii_whitespace() => words.push(String::new()),
            c => words.last_mut()?.push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next()?,
            Some(setting) => setting.to_owned(),
            None => word.strip_prefix("--")?.to_owned(),
        };
        let (name, value) = setting.split_once('=')?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}

/// With TLS or without, in the order that `sslmode` says
/// (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).
fn tls(
    config: &PostgresConfig,
    options: &PgConnectOptions,
) -> Result<Vec<PgConnectOptions>, DatabaseError> {
    let mode = config.sslmode.as_deref().unwrap_or("prefer");
    let system = config.sslrootcert.as_deref() == Some(Path::new("system"));
    let plain = || options.clone().ssl_mode(PgSslMode::Disable);
    let verifies = matches!(mode, "verify-ca" | "verify-full");
    // Any authority of the system would do for any name.
    if system && mode != "verify-full" {
        return Err(DatabaseError::Setting { key: "sslmode" });
    }
    let root = if system { None } else { authorities(config, verifies)? };
    let encrypted = |lowest: PgSslMode| {
        let mut options = options.clone().ssl_mode(match mode {
            "verify-full" => PgSslMode::VerifyFull,
            // Whoever has named authorities wants them to be asked.
            _ if root.is_some() => PgSslMode::VerifyCa,
            _ => lowest,
        });
        if let Some(root) = &root {
            options = options.ssl_root_cert(root);
        }
        match client_certificate(config) {
            Some((certificate, key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
            None => options,
        }
    };
    Ok(match mode {
        "disable" => vec![plain()],
        "allow" => vec![plain(), encrypted(PgSslMode::Require)],
        "prefer" => vec![encrypted(PgSslMode::Prefer), plain()],
        "require" => vec![encrypted(PgSslMode::Require)],
        "verify-ca" | "verify-full" => vec![encrypted(PgSslMode::VerifyFull)],
        _ => return Err(DatabaseError::Setting { key: "sslmode" }),
    })
}

/// The file of certificates of those who may certify the server: `~/.postgresql/root.crt` if none is named.
fn authorities(config: &PostgresConfig, needed: bool) -> Result<Option<PathBuf>, DatabaseError> {
    let path = config.sslrootcert.clone().or_else(|| home("root.crt"));
    match path {
        Some(path) if path.exists() => Ok(Some(path)),
        path if needed => Err(DatabaseError::Authorities { path: path.unwrap_or_default() }),
        _ => Ok(None),
    }
}

/// The client's certificate and key, if they are there.
fn client_certificate(config: &PostgresConfig) -> Option<(PathBuf, PathBuf)> {
    let certificate = config.sslcert.clone().or_else(|| home("postgresql.crt"))?;
    let key = config.sslkey.clone().or_else(|| home("postgresql.key"))?;
    (certificate.exists() && key.exists()).then_some((certificate, key))
}

fn home(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".postgresql").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PostgresConfig {
        PostgresConfig { user: Some("me".into()), ..PostgresConfig::default() }
    }

    fn addresses(config: &PostgresConfig) -> Option<Vec<String>> {
        Some(places(config).ok()?.into_iter().map(|place| place.address).collect())
    }

    #[test]
    fn hosts_are_tried_in_their_order() {
        let of = |host: &str, hostaddr: Option<&str>, port: &str| {
            let text = |text: &str| Some(text.to_owned());
            addresses(&PostgresConfig {
                host: text(host),
                hostaddr: hostaddr.and_then(text),
                port: text(port),
                ..config()
            })
        };
        let list =
            |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(of("a,/run/x", None, "1,"), list(&["a, port 1", "/run/x, port 5432"]));
        assert_eq!(of("a,b", None, "7"), list(&["a, port 7", "b, port 7"]));
        assert_eq!(of("a", Some("127.0.0.1"), ""), list(&["127.0.0.1, port 5432"]));
        assert_eq!(of("a", None, "1,2"), None);
        assert_eq!(of("a", Some("x,y"), "1"), None);
        assert_eq!(of("a", None, "x"), None);
        // Nobody listens there, and PostgreSQL's library tries no network then.
        assert_eq!(of("", None, "9"), list(&["/var/run/postgresql, port 9"]));
    }

    #[test]
    fn options_of_the_server_are_settings_only() {
        let of = |text: &str| server_options(text);
        let pairs = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(
            of(r"-c search_path=a\ b --work-mem=1MB  -cx=y"),
            pairs(&[("search_path", "a b"), ("work_mem", "1MB"), ("x", "y")])
        );
        assert_eq!(of("-d 5"), None);
        assert_eq!(of("-c x"), None);
    }

    #[test]
    fn each_mode_has_its_attempts() {
        let root = tempfile::NamedTempFile::new().unwrap();
        let of = |mode: &str, root: Option<&Path>| {
            let config = PostgresConfig {
                host: Some("h".into()),
                sslmode: Some(mode.into()),
                sslrootcert: root.map(Path::to_owned),
                ..config()
            };
            let places = places(&config).ok()?;
            let modes = places.first()?.attempts.iter().map(|o| format!("{:?}", o.get_ssl_mode()));
            Some(modes.collect::<Vec<_>>().join(" "))
        };
        let is = |text: &str| Some(text.to_owned());
        let nowhere = Some(Path::new("/nowhere/root.crt"));
        assert_eq!(of("disable", nowhere), is("Disable"));
        assert_eq!(of("allow", nowhere), is("Disable Require"));
        assert_eq!(of("prefer", nowhere), is("Prefer Disable"));
        assert_eq!(of("require", nowhere), is("Require"));
        assert_eq!(of("require", Some(root.path())), is("VerifyCa"));
        assert_eq!(of("verify-ca", Some(root.path())), is("VerifyCa"));
        assert_eq!(of("verify-full", Some(root.path())), is("VerifyFull"));
        assert_eq!(of("verify-full", Some(Path::new("system"))), is("VerifyFull"));
        for (mode, root) in [
            ("verify-ca", nowhere),
            ("require", Some(Path::new("system"))),
            ("", nowhere),
            ("on", nowhere),
        ] {
            assert_eq!(of(mode, root), None, "{mode}");
        }
    }
}
