//! Signatures by one key, checked many at once, which takes half the time of one after the other.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey, verify_batch};

/// How many are checked at once.
const ENOUGH: usize = 1024;

/// Signatures that wait to be checked, with what they are of.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    rows: Vec<Box<[u8]>>,
    texts: Vec<String>,
    signed: Vec<Signature>,
}

impl Signatures {
    /// Adds the signature of a text, and the row that it comes from.
    pub(super) fn add(&mut self, row: &[u8], text: String, signature: Signature) {
        self.rows.push(row.into());
        self.texts.push(text);
        self.signed.push(signature);
    }

    /// Whether so many wait that more would be no faster.
    pub(super) fn are_enough(&self) -> bool {
        self.rows.len() >= ENOUGH
    }

    /// Checks all that wait. Gives the rows of those that are not by the key; none waits afterwards.
    pub(super) fn check(&mut self, key: Option<VerifyingKey>) -> Vec<Box<[u8]>> {
        let Self { rows, texts, signed } = std::mem::take(self);
        let Some(key) = key else { return rows };
        let bytes: Vec<_> = texts.iter().map(String::as_bytes).collect();
        if verify_batch(&bytes, &signed, &vec![key; rows.len()]).is_ok() {
            return Vec::new();
        }
        let is_by_key = |text: &&[u8], signature| key.verify(text, signature).is_ok();
        let checked = bytes.iter().zip(&signed).map(|(text, sign)| is_by_key(text, sign));
        rows.into_iter().zip(checked).filter(|(_, good)| !good).map(|(row, _)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn wrong_ones_are_found_among_others() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let other = SigningKey::from_bytes(&[8; 32]);
        let mut signatures = Signatures::default();
        for number in 0..ENOUGH {
            assert!(!signatures.are_enough());
            let text = format!("text {number}");
            let signer = if number == 100 { &other } else { &key };
            let signature = signer.sign(text.as_bytes());
            let text = if number == 200 { "another text".into() } else { text };
            signatures.add(&number.to_be_bytes(), text, signature);
        }
        assert!(signatures.are_enough());
        let wrong = signatures.check(Some(key.verifying_key()));
        let rows = [100_usize, 200].map(|number| Box::from(number.to_be_bytes()));
        assert_eq!(wrong, rows.map(|row: Box<[u8]>| row));
        assert!(signatures.check(Some(key.verifying_key())).is_empty());
        signatures.add(b"row", "text".into(), key.sign(b"text"));
        assert!(signatures.check(Some(key.verifying_key())).is_empty());
        signatures.add(b"row", "text".into(), key.sign(b"text"));
        assert_eq!(signatures.check(None).len(), 1);
    }
}
