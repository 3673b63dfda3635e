//! Conduit's settings as Conduit puts them together: the file, and over it variables of the environment.
//!
//! Conduit does that by the crate figment (src/main.rs:56-95). Of the file, `[default]` and over it `[global]` count; a
//! variable `CONDUIT_NAME` is the setting `name`, whose value is read as a boolean, a number, a list, a table or else a text.
//! Variables that begin with `WELL_KNOWN_`, `TLS_` and `MEDIA_` are settings of these tables.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ConduitConfigError;
use crate::{conduit::schema::dialect::Dialect, fs::read_small_text};

/// Tables whose settings have variables (src/main.rs:47).
const TABLES: [&str; 3] = ["well_known", "tls", "media"];
/// Tables in these (src/main.rs:51).
const INNER_TABLES: [&str; 2] = ["directory_structure", "retention"];

/// How a server names its variables.
pub(super) struct Variables {
    /// Whose they are.
    dialect: Dialect,
    /// What they begin with; those of a later prefix win.
    prefixes: &'static [&'static str],
    /// The setting that one is for, with dots between the names of tables, from what follows the prefix in lower case.
    path: fn(&str) -> String,
}

/// Conduit's variables.
pub(super) const CONDUIT: Variables =
    Variables { dialect: Dialect::Conduit, prefixes: &["CONDUIT_"], path };

/// Continuwuity's, with two underscores after the name of a table (src/core/config/mod.rs:2829-2847 there).
pub(super) const CONTINUWUITY: Variables = Variables {
    dialect: Dialect::Continuwuity,
    prefixes: &["CONDUIT_", "CONDUWUIT_", "CONTINUWUITY_"],
    path: |name| name.replace("__", "."),
};
/// The variable that names the file, not a setting.
const FILE: &str = "config";

/// Where Conduit's settings are: a file, variables, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConduitFiles {
    /// The file that `CONDUIT_CONFIG` names.
    pub config: Option<PathBuf>,
    /// Files with variables, a line each (`CONDUIT_PORT=6167`), later ones first.
    pub environment: Vec<PathBuf>,
}

impl ConduitFiles {
    /// A configuration file alone.
    pub fn file(path: PathBuf) -> Self {
        Self { config: Some(path), environment: Vec::new() }
    }

    /// All settings in one table.
    pub(super) fn read(&self, names: &Variables) -> Result<Table, ConduitConfigError> {
        let mut variables = Table::new();
        for prefix in names.prefixes {
            for path in &self.environment {
                for (name, value) in lines(&read_text(path, names.dialect)?, prefix) {
                    set(&mut variables, &(names.path)(&name), value);
                }
            }
        }
        let other = variables.remove(FILE).and_then(|file| file.as_str().map(PathBuf::from));
        let other = other.filter(|path| !path.as_os_str().is_empty());
        let mut settings = match self.config.as_ref().or(other.as_ref()) {
            Some(path) => file(path, names.dialect)?,
            None => Table::new(),
        };
        merge(&mut settings, variables);
        Ok(settings)
    }

    /// What is named when a setting is wrong.
    pub(super) fn name(&self) -> PathBuf {
        let first = self.config.iter().chain(self.environment.last()).next();
        first.cloned().unwrap_or_default()
    }
}

fn read_text(path: &Path, dialect: Dialect) -> Result<String, ConduitConfigError> {
    read_small_text(path).map_err(|source| ConduitConfigError::Io {
        dialect,
        path: path.to_owned(),
        source,
    })
}

/// The settings of a file. Anything at its top that is no table makes Conduit refuse the file.
fn file(path: &Path, dialect: Dialect) -> Result<Table, ConduitConfigError> {
    let wrong = |reason| ConduitConfigError::Parse { dialect, path: path.to_owned(), reason };
    // The whole error shows the offending line, and lines may hold secrets.
    let whole: Table = toml::from_str(&read_text(path, dialect)?)
        .map_err(|error| wrong(error.message().to_owned()))?;
    let mut settings = Table::new();
    for profile in ["default", "global"] {
        for (name, value) in &whole {
            match value {
                Value::Table(table) if name.eq_ignore_ascii_case(profile) => {
                    merge(&mut settings, table.clone());
                }
                Value::Table(_) => {}
                _ => return Err(wrong(format!("`{name}` must be below `[global]`"))),
            }
        }
    }
    Ok(settings)
}

/// Puts the settings of `over` over those of `settings`, tables into tables.
fn merge(settings: &mut Table, over: Table) {
    for (key, value) in over {
        match (settings.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(over)) => merge(below, over),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

/// Variables of a file, by their names without the prefix: lines, as `docker inspect` and systemd's `EnvironmentFile` have
/// them, or what `/proc/NUMBER/environ` holds.
fn lines<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (String, Value)> + 'a {
    text.split(['\n', '\0']).filter_map(move |line| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let name = name.trim();
        let begins =
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let setting = name.get(prefix.len()..).filter(|_| begins)?;
        Some((setting.to_ascii_lowercase(), self::value(value)))
    })
}

/// The setting that a variable is for, with dots between the names of tables.
fn path(name: &str) -> String {
    for table in TABLES {
        let Some(rest) = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('_')) else {
            continue;
        };
        for inner in INNER_TABLES {
            if let Some(last) = rest.strip_prefix(inner).and_then(|rest| rest.strip_prefix('_')) {
                return format!("{table}.{inner}.{last}");
            }
        }
        return format!("{table}.{rest}");
    }
    name.to_owned()
}

/// A setting as errors and findings name it: with its variable, if it has one and there are variables.
pub(crate) fn named(path: &str, has_variables: bool) -> String {
    let has_variable = path.split_once('.').is_none_or(|(table, _)| TABLES.contains(&table));
    if has_variables && has_variable {
        format!("`{path}` (`CONDUIT_{}`)", path.replace('.', "_").to_ascii_uppercase())
    } else {
        format!("`{path}`")
    }
}

fn set(settings: &mut Table, path: &str, value: Value) {
    let nested = path
        .rsplit('.')
        .fold(value, |value, name| Value::Table(Table::from_iter([(name.to_owned(), value)])));
    if let Value::Table(nested) = nested {
        merge(settings, nested);
    }
}

/// The value of a variable. Quotes around it are those of a shell, of systemd or of Docker Compose.
fn value(text: &str) -> Value {
    let text = text.trim();
    let unquoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let text = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(text).trim();
    let plain = || Value::String(text.to_owned());
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ if text.starts_with(['[', '{']) => {
            let read = toml::from_str::<Table>(&format!("value = {text}")).ok();
            let read = read.and_then(|mut table| table.remove("value"));
            read.or_else(|| list(text)).unwrap_or_else(plain)
        }
        _ if text.contains('.') => text.parse().map_or_else(|_| plain(), Value::Float),
        _ => text.parse().map_or_else(|_| plain(), Value::Integer),
    }
}

/// A list whose texts have no quotes.
fn list(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Option<&str>, environment: &[&str]) -> Result<Table, String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: String, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = ConduitFiles {
            config: config.map(|text| write("conduit.toml".to_owned(), text)),
            environment: environment
                .iter()
                .enumerate()
                .map(|(number, text)| write(format!("{number}.env"), text))
                .collect(),
        };
        files.read(&CONDUIT).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_over_the_file_and_global_over_default() {
        let file = "[default]\nport = 1\nlog = \"warn\"\n[GLOBAL]\nport = 2\n[global.media]\nbackend = \"s3\"\nbucket = \"b\"\n[other]\nport = 9\n";
        let variables = "# a comment\nPATH=/bin\nCONDUIT_ALLOW_FEDERATION='true'\nCONDUIT_PORT = 6167\n\
                         export conduit_media_bucket=\"c\"\nCONDUIT_MEDIA_DIRECTORY_STRUCTURE_LENGTH=3\n\
                         CONDUIT_TRUSTED_SERVERS=[\"matrix.org\"]\nCONDUIT_IGNORED=[a, b]\nCONDUIT_CONFIG=\n";
        let expected: Table = toml::from_str(
            "port = 6167\nlog = \"warn\"\nallow_federation = true\ntrusted_servers = [\"matrix.org\"]\nignored = [\"a\", \"b\"]\n\
             [media]\nbackend = \"s3\"\nbucket = \"c\"\ndirectory_structure = {length = 3}\n",
        )
        .unwrap();
        assert_eq!(read(Some(file), &[variables]).unwrap(), expected);
        // The last file counts.
        let table = read(None, &["CONDUIT_PORT=1\nCONDUIT_LOG=x", "CONDUIT_PORT=2"]).unwrap();
        assert_eq!(table, toml::from_str("port = 2\nlog = \"x\"\n").unwrap());
    }

    #[test]
    fn values_are_what_figment_makes_of_them() {
        for (text, expected) in [
            ("true", Value::Boolean(true)),
            ("20000000", Value::Integer(20_000_000)),
            ("-1.5", Value::Float(-1.5)),
            ("0.0.0.0", Value::String("0.0.0.0".into())),
            ("example.org", Value::String("example.org".into())),
            ("/var/lib/matrix-conduit/", Value::String("/var/lib/matrix-conduit/".into())),
            ("'true'", Value::Boolean(true)),
            ("{a = 1}", Value::Table(Table::from_iter([("a".to_owned(), Value::Integer(1))]))),
            ("2020-01-01", Value::String("2020-01-01".into())),
            ("", Value::String(String::new())),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_below_global_is_refused_as_by_conduit() {
        assert!(read(Some("port = 1\n[global]\n"), &[]).unwrap_err().contains("below `[global]`"));
    }
}
