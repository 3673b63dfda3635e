//! Passwords that only the old server can check: by the hashes that it made, or by itself.

use reqwest::{StatusCode, Url};
use ruma::UserId;
use serde::Deserialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;

use crate::http::{self, Answer, Http, HttpError, Repeat};

/// How much of a password bcrypt looks at, in bytes.
const BCRYPT_LENGTH: usize = 72;

/// Whether `hash` is of the form that Synapse keeps: bcrypt's `$2a$`, `$2b$` or `$2y$`.
pub fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}

/// Whether `hash` is Synapse's hash of `password` and `pepper`: bcrypt over the first 72 bytes of the password in NFKC
/// followed by the pepper. `false` for a hash that is none. Takes a few hundred milliseconds, as it should.
pub fn matches_bcrypt(password: &str, pepper: &str, hash: &str) -> bool {
    let mut salted: Vec<u8> = password.nfkc().collect::<String>().into_bytes();
    salted.extend_from_slice(pepper.as_bytes());
    salted.truncate(BCRYPT_LENGTH);
    is_bcrypt(hash) && bcrypt::verify(&salted, hash).unwrap_or(false)
}

/// Why the old server gave no verdict on a password or a refresh token. Tells nothing of either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It does not answer.
    #[error("the old server does not answer; check that it runs")]
    Unreachable(#[source] HttpError),
    /// It has been asked too often.
    #[error("the old server asks to wait; raise `rc_login` in its configuration")]
    RateLimited,
    /// Another status, or an answer of another form.
    #[error("the old server's answer is unusable (status {0})")]
    Unexpected(StatusCode),
}

/// Whether `password` is the user's on the old server: logs in there, and out again at once.
///
/// The session that the old server makes for it is ended also if the caller stops waiting for the verdict.
///
/// # Errors
///
/// Any [`AskError`].
///
/// # Panics
///
/// Outside a Tokio runtime.
pub async fn ask(http: &Http, base: &Url, user: &UserId, password: &str) -> Result<bool, AskError> {
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
        "initial_device_display_name": "Check of a password",
    });
    let (http, url, base) = (http.clone(), endpoint(base, "login"), base.clone());
    let session = tokio::spawn(async move {
        let request = |client: &reqwest::Client| {
            client
                .post(url.clone())
                .header("content-type", "application/json")
                .body(login.to_string())
        };
        let answer = http.send(Repeat::Unsafe, request).await.map_err(AskError::Unreachable)?;
        let token = verdict(&answer)?;
        if let Some(token) = &token {
            let logout = endpoint(&base, "logout");
            let request = |client: &reqwest::Client| {
                client.post(logout.clone()).bearer_auth(token).body("{}")
            };
            if let Err(error) = http.send(Repeat::Safe, request).await {
                tracing::warn!(%error, "the session made to check a password could not be ended");
            }
        }
        Ok(token.is_some())
    });
    session.await.unwrap_or(Err(AskError::Unexpected(StatusCode::OK)))
}

/// The new session's token, or `None` if the password is wrong or the account may not log in.
fn verdict(answer: &Answer) -> Result<Option<String>, AskError> {
    #[derive(Deserialize)]
    struct Session {
        access_token: String,
    }

    match answer.status {
        StatusCode::OK => serde_json::from_slice::<Session>(&answer.body)
            .map(|session| Some(session.access_token))
            .map_err(|_| AskError::Unexpected(answer.status)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        StatusCode::TOO_MANY_REQUESTS => Err(AskError::RateLimited),
        status => Err(AskError::Unexpected(status)),
    }
}

/// `/_matrix/client/v3/NAME` of the old server; `name` may have several segments.
pub(crate) fn endpoint(base: &Url, name: &str) -> Url {
    let path: Vec<_> = name.split('/').collect();
    http::endpoint(base, &["_matrix", "client", "v3"], &path, &[])
}

#[cfg(test)]
mod tests;
