//! Requests with an access token.

use std::time::Duration;

use conduit_backfill::http::{Answer, Http, HttpError, HttpOptions, Opened, Repeat, endpoint};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::ApiError;

/// Path of the admin API.
pub(super) const ADMIN: [&str; 2] = ["_synapse", "admin"];
/// Path of the client API.
pub(super) const CLIENT: [&str; 3] = ["_matrix", "client", "v3"];

/// The longest time for a media file.
const FILE_TIMEOUT: Duration = Duration::from_hours(1);

/// A connection to Synapse's client listener.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    http: Http,
    base: Url,
    admin_token: SecretString,
}

/// In whose name a request is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum As<'a> {
    Nobody,
    Admin,
    User(&'a SecretString),
}

/// A request without a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Get<'a> {
    pub(super) token: As<'a>,
    pub(super) api: &'a [&'a str],
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
}

impl Connection {
    pub(super) fn new(
        base: Url,
        admin_token: SecretString,
        options: HttpOptions,
    ) -> Result<Self, ApiError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ApiError::BadUrl);
        }
        let http = Http::new(options).map_err(ApiError::Http)?;
        Ok(Self { http, base, admin_token })
    }

    /// An admin endpoint, as administrator.
    pub(super) async fn admin<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        self.get(Get { token: As::Admin, api: &ADMIN, path, query }).await
    }

    /// A client endpoint.
    pub(super) async fn client<T: DeserializeOwned>(
        &self,
        token: As<'_>,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        self.get(Get { token, api: &CLIENT, path, query }).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, get: Get<'_>) -> Result<T, ApiError> {
        let url = self.url(get.api, get.path, get.query);
        self.send(Method::GET, url, get.token, None, Repeat::Safe).await
    }

    /// `POST`s JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        token: As<'_>,
        (api, path): (&[&str], &[&str]),
        body: &Value,
        repeat: Repeat,
    ) -> Result<T, ApiError> {
        let url = self.url(api, path, &[]);
        self.send(Method::POST, url, token, Some(body.to_string()), repeat).await
    }

    fn url(&self, api: &[&str], path: &[&str], query: &[(&str, &str)]) -> Url {
        // `new` refused URLs that have no path.
        endpoint(&self.base, api, path, query)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        token: As<'_>,
        body: Option<String>,
        repeat: Repeat,
    ) -> Result<T, ApiError> {
        let authorization = self.authorization(token)?;
        let request = |client: &reqwest::Client| {
            let mut request = client.request(method.clone(), url.clone());
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            match &body {
                Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
                None => request,
            }
        };
        let answer =
            self.http.send(repeat, request).await.map_err(|error| self.http_error(&url, error))?;
        if !answer.status.is_success() {
            return Err(refused(&url, token, &answer));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|source| ApiError::NotJson { endpoint: url.path().to_owned(), source })
    }

    /// Opens a file. Its body is read by the caller, within [`FILE_TIMEOUT`].
    pub(super) async fn open(&self, get: Get<'_>) -> Result<Response, ApiError> {
        let url = self.url(get.api, get.path, get.query);
        let authorization = self.authorization(get.token)?;
        let request = |client: &reqwest::Client| {
            let request = client.get(url.clone()).timeout(FILE_TIMEOUT);
            match &authorization {
                Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
                None => request,
            }
        };
        match self.http.open(request).await.map_err(|error| self.http_error(&url, error))? {
            Opened::Body(response) => Ok(response),
            Opened::Refused(answer) => Err(refused(&url, get.token, &answer)),
        }
    }

    fn authorization(&self, token: As<'_>) -> Result<Option<HeaderValue>, ApiError> {
        match token {
            As::Nobody => Ok(None),
            As::Admin => bearer(&self.admin_token).map(Some),
            As::User(token) => bearer(token).map(Some),
        }
    }

    fn http_error(&self, url: &Url, error: HttpError) -> ApiError {
        match error {
            HttpError::BodyTooLarge { limit } => {
                ApiError::TooLong { endpoint: url.path().to_owned(), limit }
            }
            HttpError::Request(_) => ApiError::Http(error),
            source => {
                ApiError::Unreachable { url: self.base.origin().ascii_serialization(), source }
            }
        }
    }
}

/// The header of a token. It is marked as sensitive: it does not print.
fn bearer(token: &SecretString) -> Result<HeaderValue, ApiError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_no_header| ApiError::AdminToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn refused(url: &Url, token: As<'_>, answer: &Answer) -> ApiError {
    #[derive(Default, Deserialize)]
    struct MatrixError {
        #[serde(default)]
        errcode: String,
    }

    let error: MatrixError = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == StatusCode::UNAUTHORIZED && matches!(token, As::Admin) {
        return ApiError::AdminToken;
    }
    if error.errcode == "M_RESOURCE_LIMIT_EXCEEDED" {
        return ApiError::Frozen;
    }
    // The code is the server's word: only what looks like a code goes into a text.
    let is_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    let errcode = error.errcode.chars().take(64).filter(|c| is_code(*c)).collect();
    ApiError::Refused { endpoint: url.path().to_owned(), status: answer.status, errcode }
}

/// Deserializes a boolean, which some versions of Synapse give as a number if the database is SQLite.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Boolean(bool),
        Number(u64),
        None,
    }

    Ok(match Flag::deserialize(deserializer)? {
        Flag::Boolean(flag) => flag,
        Flag::Number(number) => number != 0,
        Flag::None => false,
    })
}
