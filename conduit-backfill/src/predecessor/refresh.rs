//! Refresh tokens, which only the old server knows.

use reqwest::{StatusCode, Url};
use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::{Answer, Http, Repeat},
    predecessor::password::{AskError, endpoint},
};

/// A session that the old server has renewed.
#[derive(Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Whose it is.
    pub user_id: OwnedUserId,
    /// Its device.
    pub device_id: OwnedDeviceId,
    /// The new access token, a secret.
    pub access_token: String,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user_id, device_id, .. } = self;
        write!(formatter, "Renewed({user_id}, {device_id})")
    }
}

/// Has the old server renew the session of a refresh token, and say whose it is; `None` if it refuses the token. The token is
/// used up.
///
/// A renewal that has begun goes on to its end also if the caller stops waiting for it.
///
/// # Errors
///
/// Any [`AskError`].
///
/// # Panics
///
/// Outside a Tokio runtime.
pub async fn ask(http: &Http, base: &Url, token: &str) -> Result<Option<Renewed>, AskError> {
    #[derive(Deserialize)]
    struct Tokens {
        access_token: String,
    }
    #[derive(Deserialize)]
    struct Owner {
        user_id: OwnedUserId,
        device_id: OwnedDeviceId,
    }

    let body = json!({ "refresh_token": token }).to_string();
    let (refresh, whoami) = (endpoint(base, "refresh"), endpoint(base, "account/whoami"));
    let http = http.clone();
    let renewal = tokio::spawn(async move {
        let request = |client: &reqwest::Client| {
            client
                .post(refresh.clone())
                .header("content-type", "application/json")
                .body(body.clone())
        };
        // Synapse takes the token again until one of its successors is used.
        let answer = http.send(Repeat::Safe, request).await.map_err(AskError::Unreachable)?;
        let Some(Tokens { access_token }) = read(&answer)? else { return Ok(None) };
        let request =
            |client: &reqwest::Client| client.get(whoami.clone()).bearer_auth(&access_token);
        let answer = http.send(Repeat::Safe, request).await.map_err(AskError::Unreachable)?;
        let owner = read::<Owner>(&answer)?;
        Ok(owner.map(|Owner { user_id, device_id }| Renewed { user_id, device_id, access_token }))
    });
    renewal.await.unwrap_or(Err(AskError::Unexpected(StatusCode::OK)))
}

/// What a success says; `None` if the old server refuses, which it does with a Matrix error code.
fn read<T: for<'a> Deserialize<'a>>(answer: &Answer) -> Result<Option<T>, AskError> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "errcode")]
        _errcode: String,
    }

    let unexpected = AskError::Unexpected(answer.status);
    match answer.status {
        StatusCode::OK => serde_json::from_slice(&answer.body).map(Some).map_err(|_| unexpected),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if serde_json::from_slice::<Refusal>(&answer.body).is_ok() =>
        {
            Ok(None)
        }
        StatusCode::TOO_MANY_REQUESTS => Err(AskError::RateLimited),
        _ => Err(unexpected),
    }
}

#[cfg(test)]
mod tests;
