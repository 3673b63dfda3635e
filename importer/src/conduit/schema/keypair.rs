//! The value of `global["keypair"]`: the server's signing key.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};

use super::{
    shapes::{Global, Keypair},
    trees::GLOBAL,
};

/// Why a signing key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeypairError {
    /// The seed is not 32 bytes in base64.
    #[error(
        "the signing key `ed25519:{version}` is no 32-byte seed in base64; compare it with Synapse's key file"
    )]
    Seed {
        /// The key's version.
        version: String,
    },
    /// The version has characters that Matrix key ids can't have.
    #[error("the signing key's version `{version}` is not letters, digits and `_`")]
    Version {
        /// The key's version.
        version: String,
    },
}

/// Encodes a key: version, `ff`, PKCS#8 version 2 with the public key, 83 bytes
/// (src/database/key_value/globals.rs:209-242).
///
/// `seed` is unpadded base64, as in Synapse's key file.
///
/// # Errors
///
/// [`KeypairError`]. Conduit deletes a key that it can't read, so nothing else may be written.
pub fn encode(version: &str, seed: &str) -> Result<Vec<u8>, KeypairError> {
    let der = pkcs8(version, seed)?;
    Ok(GLOBAL.value_of(&Global::Keypair(Keypair { version, pkcs8: &der })))
}

/// The PKCS#8 document of a seed, as ruma reads it.
///
/// # Errors
///
/// [`KeypairError`].
pub fn pkcs8(version: &str, seed: &str) -> Result<Vec<u8>, KeypairError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if version.is_empty() || !version.chars().all(allowed) {
        return Err(KeypairError::Version { version: version.into() });
    }
    let bad_seed = || KeypairError::Seed { version: version.into() };
    let seed = STANDARD_NO_PAD.decode(seed.trim_end_matches('=')).map_err(|_| bad_seed())?;
    let key = SigningKey::from_bytes(&seed.try_into().map_err(|_| bad_seed())?);
    Ok(key.to_pkcs8_der().map_err(|_| bad_seed())?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use ruma::signatures::Ed25519KeyPair;

    use super::*;

    /// The bytes 0 to 31.
    const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_keypair_is_version_separator_and_83_bytes_that_ruma_reads() {
        let value = encode("a_AbCd", SEED).unwrap();
        let (version, der) = value.split_at(6);
        assert_eq!(version, b"a_AbCd");
        assert_eq!(
            hex::encode(der),
            "ff3051020101300506032b657004220420\
             000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
             812100\
             03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
        );
        let key = Ed25519KeyPair::from_der(&der[1..], "a_AbCd".into()).unwrap();
        assert_eq!(
            STANDARD_NO_PAD.encode(key.public_key()),
            "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
        );
    }

    #[test]
    fn anything_but_a_seed_is_refused() {
        assert!(matches!(encode("a", "AAEC"), Err(KeypairError::Seed { .. })));
        assert!(matches!(encode("a", "!"), Err(KeypairError::Seed { .. })));
        assert!(matches!(encode("a b", SEED), Err(KeypairError::Version { .. })));
        assert!(matches!(encode("", SEED), Err(KeypairError::Version { .. })));
    }
}
