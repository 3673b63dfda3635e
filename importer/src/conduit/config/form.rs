//! What Conduit takes for each of its settings: with anything else it does not start (src/config/mod.rs:26-95, 545-610).
//! Settings that it does not know it passes over.

use std::net::IpAddr;

use ruma::{OwnedServerName, RoomVersionId};
use toml::{Table, Value};

use super::document::named;

/// What a setting can be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Texts,
    Switch,
    /// A whole number from 0 to this.
    Number(i64),
    /// A whole number of 32 bits, negative ones too.
    Signed,
    Fraction,
    Address,
    ServerName,
    ServerNames,
    RoomVersion,
    Url,
    Table,
}

const U16: i64 = 0xffff;
const U32: i64 = 0xffff_ffff;

/// Settings, by the names of their tables and their own.
const FORMS: &[(&str, Form)] = &[
    ("address", Form::Address),
    ("port", Form::Number(U16)),
    ("tls", Form::Table),
    ("tls.certs", Form::Text),
    ("tls.key", Form::Text),
    ("server_name", Form::ServerName),
    ("database_backend", Form::Text),
    ("database_path", Form::Text),
    ("db_cache_capacity_mb", Form::Fraction),
    ("enable_lightning_bolt", Form::Switch),
    ("allow_check_for_updates", Form::Switch),
    ("conduit_cache_capacity_modifier", Form::Fraction),
    ("rocksdb_max_open_files", Form::Signed),
    ("pdu_cache_capacity", Form::Number(U32)),
    ("cleanup_second_interval", Form::Number(U32)),
    ("max_request_size", Form::Number(U32)),
    ("max_concurrent_requests", Form::Number(U16)),
    ("max_fetch_prev_events", Form::Number(U16)),
    ("allow_registration", Form::Switch),
    ("registration_token", Form::Text),
    ("openid_token_ttl", Form::Number(i64::MAX)),
    ("allow_encryption", Form::Switch),
    ("allow_federation", Form::Switch),
    ("allow_room_creation", Form::Switch),
    ("allow_unstable_room_versions", Form::Switch),
    ("default_room_version", Form::RoomVersion),
    ("well_known", Form::Table),
    ("well_known.client", Form::Url),
    ("well_known.server", Form::ServerName),
    ("allow_jaeger", Form::Switch),
    ("tracing_flame", Form::Switch),
    ("jwt_secret", Form::Text),
    ("trusted_servers", Form::ServerNames),
    ("log", Form::Text),
    ("turn_username", Form::Text),
    ("turn_password", Form::Text),
    ("turn_uris", Form::Texts),
    ("turn_secret", Form::Text),
    ("turn_ttl", Form::Number(i64::MAX)),
    ("turn", Form::Table),
    ("turn.uris", Form::Texts),
    ("turn.ttl", Form::Number(i64::MAX)),
    ("media", Form::Table),
    ("media.backend", Form::Text),
    ("media.path", Form::Text),
    ("emergency_password", Form::Text),
];

/// Settings without which Conduit does not start; those of a table only if the table is there.
const NEEDED: &[(&str, &str)] = &[
    ("server_name", "the server's name"),
    ("database_backend", "`rocksdb` or `sqlite`"),
    ("database_path", "the directory of the database"),
    ("tls.certs", "the file of the certificates"),
    ("tls.key", "the file of the certificate's key"),
    ("turn.uris", "a list of URIs of TURN servers"),
    ("media.backend", "`filesystem` or `s3`"),
];
/// The same for media in an S3 bucket.
const NEEDED_BY_S3: &[(&str, &str)] = &[
    ("media.endpoint", "the URL of the S3 service"),
    ("media.bucket", "the bucket's name"),
    ("media.region", "the bucket's region"),
    ("media.key", "the access key's id"),
    ("media.secret", "the access key's secret"),
];

/// Says which setting Conduit does not take, without its value, which may be a secret.
///
/// # Errors
///
/// The setting and what it can be.
pub(super) fn check(settings: &Table, has_variables: bool) -> Result<(), String> {
    let named = |path: &str| named(path, has_variables);
    for (path, form) in FORMS {
        if let Some(value) = at(settings, path)
            && !form.fits(value)
        {
            return Err(format!("{} is not {}", named(path), form.name()));
        }
    }
    let s3 = at(settings, "media.backend").and_then(Value::as_str) == Some("s3");
    let by_s3: &[(&str, &str)] = if s3 { NEEDED_BY_S3 } else { &[] };
    for (path, what) in NEEDED.iter().chain(by_s3) {
        let table = path.split_once('.').map(|(table, _)| table);
        let is_needed = table.is_none_or(|table| settings.contains_key(table));
        if is_needed && at(settings, path).is_none() {
            return Err(format!("{} is missing; set it to {what}", named(path)));
        }
    }
    retention(settings)?;
    turn(settings)
}

/// Units of durations, as the crate humantime has them.
const UNITS: [&str; 27] = [
    "nsec", "ns", "usec", "us", "msec", "ms", "seconds", "second", "sec", "s", "minutes", "minute",
    "min", "m", "hours", "hour", "hr", "h", "days", "day", "d", "weeks", "week", "w", "months",
    "month", "M",
];
/// Media that a policy can be for.
const SCOPES: [&str; 3] = ["remote", "local", "thumbnail"];
/// Units of years.
const YEARS: [&str; 3] = ["years", "year", "y"];

/// Policies that delete media (src/config/mod.rs:430-540).
fn retention(settings: &Table) -> Result<(), String> {
    let policies = at(settings, "media.retention").and_then(Value::as_array);
    for policy in policies.into_iter().flatten() {
        let scope = policy.get("scope").map(|scope| scope.as_str().unwrap_or_default());
        if scope.is_some_and(|scope| !SCOPES.contains(&scope)) {
            return Err(format!("`media.retention` has a `scope` that is none of {SCOPES:?}"));
        }
        for key in ["accessed", "created"] {
            let after = policy.get(key).map(|after| after.as_str().unwrap_or_default());
            if after.is_some_and(|after| !is_duration(after)) {
                return Err(format!("`media.retention` has for `{key}` no duration such as `30d`"));
            }
        }
    }
    Ok(())
}

fn is_duration(text: &str) -> bool {
    let mut rest = text.trim();
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let unit_and_more = after.trim_start();
        let more = unit_and_more.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = unit_and_more.strip_suffix(more).unwrap_or_default();
        if after == rest || !(UNITS.contains(&unit) || YEARS.contains(&unit)) {
            return false;
        }
        rest = more.trim_start();
    }
    true
}

/// Both ways of Conduit to say by what clients log in at a TURN server (src/config/mod.rs:330-345).
fn turn(settings: &Table) -> Result<(), String> {
    let has = |name: &str| at(settings, name).is_some_and(Value::is_str);
    let is_said = has("turn.secret") || (has("turn.username") && has("turn.password"));
    if settings.contains_key("turn") && !is_said {
        return Err("`turn` has neither `secret` nor `username` and `password`".into());
    }
    Ok(())
}

/// A setting in its table.
pub(super) fn at<'a>(settings: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((table, rest)) => at(settings.get(table)?.as_table()?, rest),
        None => settings.get(path),
    }
}

impl Form {
    fn fits(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Text => text.is_some(),
            Self::Texts => each(value, |_| true),
            Self::Switch => value.is_bool(),
            Self::Number(most) => {
                value.as_integer().is_some_and(|number| (0..=most).contains(&number))
            }
            Self::Signed => value.as_integer().is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Fraction => value.is_float() || value.is_integer(),
            Self::Address => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            Self::ServerName => text.is_some_and(is_server_name),
            Self::ServerNames => each(value, is_server_name),
            Self::RoomVersion => text.is_some_and(|text| RoomVersionId::try_from(text).is_ok()),
            Self::Url => text.is_some_and(|text| reqwest::Url::parse(text).is_ok()),
            Self::Table => value.is_table(),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Texts => "a list of texts".into(),
            Self::Switch => "`true` or `false`".into(),
            Self::Number(most) => format!("a whole number from 0 to {most}"),
            Self::Signed => "a whole number".into(),
            Self::Fraction => "a number".into(),
            Self::Address => "an IP address".into(),
            Self::ServerName => "a server name".into(),
            Self::ServerNames => "a list of server names".into(),
            Self::RoomVersion => "a room version".into(),
            Self::Url => "a URL such as `https://matrix.example.org`".into(),
            Self::Table => "a table".into(),
        }
    }
}

fn is_server_name(text: &str) -> bool {
    OwnedServerName::try_from(text).is_ok()
}

fn each(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    let items = value.as_array();
    items.is_some_and(|items| items.iter().all(|item| item.as_str().is_some_and(&fits)))
}
