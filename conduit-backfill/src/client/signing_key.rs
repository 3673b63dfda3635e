//! The key that signs for both servers.

use std::{fmt, ops::Deref, sync::Arc};

use ruma::{
    OwnedServerSigningKeyId, ServerSigningKeyId,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, KeyPair, Signature},
};

/// What stands before the 32 bytes of the seed in an ed25519 key in PKCS#8 version 1 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// An ed25519 signing key. `Debug` shows its id alone.
#[derive(Clone)]
pub struct SigningKey {
    id: OwnedServerSigningKeyId,
    pair: Pair,
}

/// A key of our own, or one that a homeserver keeps.
#[derive(Clone)]
enum Pair {
    Own(Arc<Ed25519KeyPair>),
    Kept(&'static Ed25519KeyPair),
}

impl Deref for Pair {
    type Target = Ed25519KeyPair;

    fn deref(&self) -> &Ed25519KeyPair {
        match self {
            Self::Own(pair) => pair,
            Self::Kept(pair) => pair,
        }
    }
}

/// Why a key can't be used. Tells nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The text is no key file.
    #[error(
        "the signing key file has no line `ed25519 VERSION SEED`; give the file that Synapse's `signing_key_path` names"
    )]
    NoKey,
    /// The version is empty, or has characters that no header can have.
    #[error("the signing key's version is not made of printable ASCII characters")]
    Version,
    /// The seed is not 32 bytes in base64.
    #[error("the signing key's seed is not 32 bytes in unpadded base64")]
    Seed,
}

impl SigningKey {
    /// Makes a key from its version, such as `a_AbCd`, and its seed.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Version`].
    pub fn new(version: &str, seed: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let id = key_id(version)?;
        let document = [PKCS8_HEAD.as_slice(), seed.as_slice()].concat();
        let pair = Ed25519KeyPair::from_der(&document, version.to_owned())
            .map_err(|_| SigningKeyError::Seed)?;
        Ok(Self { id, pair: Pair::Own(Arc::new(pair)) })
    }

    /// Makes a key from the one that a homeserver keeps for as long as it runs.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Version`].
    pub fn kept(pair: &'static Ed25519KeyPair) -> Result<Self, SigningKeyError> {
        Ok(Self { id: key_id(pair.version())?, pair: Pair::Kept(pair) })
    }

    /// Reads the first key of Synapse's key file, whose lines are `ed25519 VERSION SEED`, the seed in unpadded base64.
    ///
    /// # Errors
    ///
    /// Any [`SigningKeyError`].
    pub fn parse(file: &str) -> Result<Self, SigningKeyError> {
        let line = file.lines().find(|line| !line.trim().is_empty());
        let mut words = line.unwrap_or_default().split_ascii_whitespace();
        let (Some("ed25519"), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SigningKeyError::NoKey);
        };
        let seed: Base64 = Base64::parse(seed).map_err(|_| SigningKeyError::Seed)?;
        let seed = seed.as_bytes().try_into().map_err(|_| SigningKeyError::Seed)?;
        Self::new(version, seed)
    }

    /// The key's id, such as `ed25519:a_AbCd`.
    pub fn id(&self) -> &ServerSigningKeyId {
        &self.id
    }

    /// The key's version, the part of its id after `ed25519:`.
    pub fn version(&self) -> &str {
        self.pair.version()
    }

    /// The public key in unpadded base64, as servers publish it.
    pub fn public_key(&self) -> String {
        Base64::<Standard, _>::new(self.pair.public_key()).encode()
    }
}

fn key_id(version: &str) -> Result<OwnedServerSigningKeyId, SigningKeyError> {
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_graphic()) {
        return Err(SigningKeyError::Version);
    }
    ServerSigningKeyId::parse(format!("ed25519:{version}")).map_err(|_| SigningKeyError::Version)
}

impl KeyPair for SigningKey {
    fn sign(&self, message: &[u8]) -> Signature {
        self.pair.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{SigningKey, SigningKeyError};

    /// The specification's key for its signing test vectors.
    const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

    #[test]
    fn the_first_line_of_a_key_file_is_the_key() {
        let key = SigningKey::parse(&format!("\ned25519 1 {SEED}\ned25519 b {SEED}\n")).unwrap();
        assert_eq!(key.id().as_str(), "ed25519:1");
        assert_eq!(key.version(), "1");
        assert_eq!(key.public_key(), "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI");
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let key = SigningKey::parse(&format!("ed25519 1 {SEED}")).unwrap();
        assert_eq!(format!("{key:?}"), r#"SigningKey { id: "ed25519:1", .. }"#);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let cases = [
            ("", SigningKeyError::NoKey),
            ("ed25519 1", SigningKeyError::NoKey),
            ("rsa 1 AAAA", SigningKeyError::NoKey),
            ("ed25519 1 AAAA x", SigningKeyError::NoKey),
            ("ed25519 1 AAAA", SigningKeyError::Seed),
            ("ed25519 1 !!!!", SigningKeyError::Seed),
            ("ed25519 ü YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", SigningKeyError::Version),
        ];
        for (file, error) in cases {
            assert_eq!(SigningKey::parse(file).unwrap_err(), error, "{file}");
        }
    }
}
