//! Access tokens of local users: from the dump, which has them if it was made from the database, or from a file.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use secrecy::SecretString;

use crate::dump::format::{DumpAccessToken, DumpUser};

/// One token of each user.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<OwnedUserId, SecretString>);

/// A line of a token file is no user id and token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the token file is not `@user:server TOKEN`")]
pub struct TokensError {
    /// The line, counted from 1.
    line: usize,
}

impl Tokens {
    /// Takes a token of a dumped user, if there is one that will hold; rather of a device than of none in particular.
    pub fn add(&mut self, user: &DumpUser) {
        if user.deactivated || user.locked {
            return;
        }
        let devices = user.devices.iter().filter(|device| !device.dehydrated);
        let tokens = devices.flat_map(|device| &device.access_tokens);
        let lasting =
            |token: &&DumpAccessToken| token.valid_until_ts.is_none() && !token.refreshable;
        if let Some(token) = tokens.filter(lasting).max_by_key(|token| token.last_used_ts) {
            self.0.insert(user.user_id.clone(), token.token.clone());
        }
    }

    /// Takes the tokens of a file with lines `@user:server TOKEN`; they replace others.
    ///
    /// # Errors
    ///
    /// [`TokensError`].
    pub fn read(&mut self, file: &str) -> Result<(), TokensError> {
        for (index, line) in file.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            let (user, token) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(user), Some(token), None) => (UserId::parse(user).ok(), token),
                _ => (None, ""),
            };
            let user = user.ok_or(TokensError { line: index + 1 })?;
            self.0.insert(user, SecretString::from(token));
        }
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a user can be asked.
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.0.contains_key(user)
    }

    pub(super) fn of(&self, user: &UserId) -> Option<&SecretString> {
        self.0.get(user)
    }
}
