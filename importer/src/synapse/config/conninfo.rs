//! Connection settings as PostgreSQL's own library takes them: keys and values, or a URI
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>).

use std::{collections::BTreeMap, fmt, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};

/// Settings by their keys. None of the values is printed: one may be a password.
#[derive(Clone, Default)]
pub struct Conninfo(BTreeMap<String, SecretString>);

/// Why a text is no connection setting. Without a word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConninfoError {
    /// Neither keys and values nor a URI.
    #[error("expected `host=… port=… dbname=… user=…` or `postgresql://USER@HOST:PORT/DATABASE`")]
    Form,
}

impl Conninfo {
    /// Sets a key.
    pub(super) fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), SecretString::from(value.into()));
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(SecretString::expose_secret)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// These settings, and `other`'s where it has any.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }
}

impl fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromStr for Conninfo {
    type Err = ConninfoError;

    fn from_str(text: &str) -> Result<Self, ConninfoError> {
        let uri =
            ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        match uri {
            Some(rest) => of_uri(rest),
            None => of_pairs(text),
        }
        .ok_or(ConninfoError::Form)
    }
}

/// `key = 'a value' other=value`; a backslash takes the next character as it is.
fn of_pairs(text: &str) -> Option<Conninfo> {
    let mut conninfo = Conninfo::default();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(conninfo);
        }
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_ascii_whitespace() && *c != '=') {
            key.push(c);
        }
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        rest.next_if_eq(&'=')?;
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        let quoted = rest.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match rest.next() {
                Some('\\') => value.extend(rest.next()),
                Some('\'') if quoted => break,
                None if quoted => return None,
                None => break,
                Some(c) if !quoted && c.is_ascii_whitespace() => break,
                Some(c) => value.push(c),
            }
        }
        conninfo.set(key, value);
    }
}

/// `USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?KEY=VALUE&…`, all of it optional and percent-encoded.
fn of_uri(rest: &str) -> Option<Conninfo> {
    let mut conninfo = Conninfo::default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match authority.split_once('@') {
        Some((user, hosts)) => (user, hosts),
        None => ("", authority),
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut set = |key: &str, value: String| {
        if !value.is_empty() {
            conninfo.set(key, value);
        }
    };
    set("user", decode(user)?);
    set("password", decode(password)?);
    set("dbname", decode(database)?);
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']')?;
                (name, port.strip_prefix(':').unwrap_or(port))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        set("host", names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        set("port", ports.join(","));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        match (&*decode(key)?, decode(value)?) {
            ("ssl", value) if value == "true" => set("sslmode", "require".into()),
            (key, value) => set(key, value),
        }
    }
    Some(conninfo)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let byte = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok();
            bytes.push(byte.filter(|byte| *byte != 0)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let conninfo: Conninfo = text.parse().ok()?;
        Some(
            conninfo
                .keys()
                .map(|key| (key.to_owned(), conninfo.get(key).unwrap_or_default().to_owned()))
                .collect(),
        )
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_and_values() {
        assert_eq!(read(""), Some(pairs(&[])));
        assert_eq!(
            read(r"host = 'a b' dbname=x\ y  password='it\'s \\' port="),
            Some(pairs(&[
                ("dbname", "x y"),
                ("host", "a b"),
                ("password", r"it's \"),
                ("port", "")
            ]))
        );
        for broken in ["host", "host 'x'", "host='x", "/var/lib/x.db"] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn uris() {
        assert_eq!(
            read(
                "postgresql://me:pass%20word@one:1,[::1]:2/db?sslmode=require&application_name=a%3Db"
            ),
            Some(pairs(&[
                ("application_name", "a=b"),
                ("dbname", "db"),
                ("host", "one,::1"),
                ("password", "pass word"),
                ("port", "1,2"),
                ("sslmode", "require"),
                ("user", "me"),
            ]))
        );
        assert_eq!(
            read("postgres://%2Frun%2Fpg/db"),
            Some(pairs(&[("dbname", "db"), ("host", "/run/pg")]))
        );
        assert_eq!(
            read("postgres:///db?host=/run/pg"),
            Some(pairs(&[("dbname", "db"), ("host", "/run/pg")]))
        );
        assert_eq!(read("postgresql://"), Some(pairs(&[])));
        assert_eq!(read("postgresql://%zz@h"), None);
    }

    #[test]
    fn no_value_is_printed() {
        let conninfo: Conninfo = "password=planted host=planted".parse().unwrap();
        assert_eq!(format!("{conninfo:?}"), r#"{"host", "password"}"#);
    }
}
