//! Signing keys, present and old.

use std::path::PathBuf;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{
    ConfigError,
    document::{Document, scalar},
};
use crate::dump::format::{DumpOldSigningKey, DumpSigningKey};

/// Unpadded base64 is what Synapse writes; what an operator pasted may have padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A value of `old_signing_keys`.
#[derive(Deserialize)]
pub(super) struct OldKey {
    key: String,
    #[serde(deserialize_with = "number")]
    expired_ts: u64,
}

/// A number, or a text of one: Synapse publishes either as it stands.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = scalar(&value).unwrap_or_default();
    let text = text.trim();
    // A number with a fraction, or one that is written with an exponent, is a float to YAML.
    let whole = text.parse().ok().or_else(|| {
        let fraction: f64 = text.parse().ok()?;
        format!("{:.0}", fraction.trunc()).parse().ok()
    });
    whole.ok_or_else(|| D::Error::custom("no number"))
}

impl OldKey {
    pub(super) fn named(self, key_id: String) -> DumpOldSigningKey {
        let public_key = self.key.trim_end_matches('=').to_owned();
        DumpOldSigningKey { key_id, public_key, expired_ts: self.expired_ts }
    }
}

/// The keys of `signing_key`, or else of the file `signing_key_path`; that is by default named after the server and beside
/// the last configuration file.
pub(super) fn read(
    document: &Document,
    server_name: &str,
) -> Result<Vec<DumpSigningKey>, ConfigError> {
    if let Some(text) = document.get::<String>("signing_key")? {
        return parse_signing_keys("signing_key", &text);
    }
    let path = named(document, server_name)?;
    parse_signing_keys(&path.display().to_string(), &document.read_named(PATH, &path)?)
}

/// The key of the file.
const PATH: &str = "signing_key_path";

/// The file of the keys; `None` if they are in the configuration itself.
pub(super) fn path(document: &Document, server_name: &str) -> Result<Option<PathBuf>, ConfigError> {
    match document.get::<String>("signing_key")? {
        Some(_) => Ok(None),
        None => named(document, server_name).map(Some),
    }
}

fn named(document: &Document, server_name: &str) -> Result<PathBuf, ConfigError> {
    Ok(match document.get::<PathBuf>(PATH)? {
        Some(path) => document.resolve(PATH, &path),
        // `synapse/config/key.py`: beside the last file (`config_dir_path` of `synapse/config/_base.py`).
        None => document.last_directory().join(format!("{server_name}.signing.key")),
    })
}

/// Reads the text of a key file: lines `ed25519 VERSION SEED`, the seed being 32 bytes in base64. Synapse signs with the
/// first one. `source_name` names the file in errors.
///
/// # Errors
///
/// [`ConfigError::SigningKey`] if a line is something else, or if there is none.
pub fn parse_signing_keys(
    source_name: &str,
    text: &str,
) -> Result<Vec<DumpSigningKey>, ConfigError> {
    let error = |line| ConfigError::SigningKey { source_name: source_name.to_owned(), line };
    let keys = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| parse_line(line).ok_or_else(|| error(number)))
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(error(1)) } else { Ok(keys) }
}

fn parse_line(line: &str) -> Option<DumpSigningKey> {
    let mut words = line.split_whitespace();
    let (Some("ed25519"), Some(version), Some(seed), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let seed = BASE64.decode(seed).ok().filter(|seed| seed.len() == 32)?;
    Some(DumpSigningKey { version: version.to_owned(), seed: BASE64.encode(seed).into() })
}
