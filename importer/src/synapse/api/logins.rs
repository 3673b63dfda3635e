//! Login tokens: taken to read as a user, given back as soon as that is done.
//!
//! A token is noted before it is used, so that [`Logins::close`] can give it back when a run is interrupted. One whose
//! making was interrupted is lost; it ends by itself after [`VALIDITY_MS`].

use conduit_backfill::http::Repeat;
use ruma::UserId;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiError,
    connection::{ADMIN, As, CLIENT, Connection},
};

/// How long a token is valid unless it is given back: a week.
const VALIDITY_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The tokens that are out.
#[derive(Debug)]
pub(super) struct Logins {
    api: Connection,
    /// The present time in milliseconds since the epoch.
    now_ts: u64,
    tokens: Vec<SecretString>,
}

impl Logins {
    pub(super) fn new(api: Connection, now_ts: u64) -> Self {
        Self { api, now_ts, tokens: Vec::new() }
    }

    /// Takes a token of a user.
    pub(super) async fn login(&mut self, user_id: &UserId) -> Result<SecretString, ApiError> {
        #[derive(Deserialize)]
        struct Login {
            access_token: SecretString,
        }

        let path = ["v1", "users", user_id.as_str(), "login"];
        let body = json!({"valid_until_ms": self.now_ts.saturating_add(VALIDITY_MS)});
        let login: Login = self.api.post(As::Admin, (&ADMIN, &path), &body, Repeat::Unsafe).await?;
        self.tokens.push(login.access_token.clone());
        Ok(login.access_token)
    }

    /// Gives all tokens back.
    pub(super) async fn close(&mut self) -> Result<(), ApiError> {
        let mut left = Vec::new();
        let mut fatal = None;
        while let Some(token) = self.tokens.last().cloned() {
            let body = Value::Object(serde_json::Map::new());
            let path: (&[&str], &[&str]) = (&CLIENT, &["logout"]);
            match self.api.post(As::User(&token), path, &body, Repeat::Safe).await {
                Ok(Value::Object(_)) => {}
                // A second try after a lost answer finds the token gone already.
                Err(error) if error.has_errcode("M_UNKNOWN_TOKEN") => {}
                Err(error) if error.ends_run() => fatal = Some(error),
                Ok(_) | Err(_) => left.push(token),
            }
            if fatal.is_some() {
                break;
            }
            self.tokens.pop();
        }
        self.tokens.extend(left);
        match (fatal, self.tokens.len()) {
            (_, 0) => Ok(()),
            (_, number) => Err(ApiError::TokensLeft { number }),
        }
    }
}
