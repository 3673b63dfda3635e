//! Why the APIs can't be read, and what to do.

use std::io;

use conduit_backfill::{ClientError, client::SigningKeyError, http::HttpError};
use reqwest::StatusCode;
use ruma::OwnedServerName;

/// Why the APIs can't be read. Texts say what to do, and contain no token and no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The URL is not `http://…` or `https://…`.
    #[error(
        "the homeserver's URL begins with neither http:// nor https://; give one such as http://127.0.0.1:8008"
    )]
    BadUrl,
    /// Nobody answers.
    #[error("Synapse does not answer at {url}; check that it runs and that the URL is right")]
    Unreachable {
        /// Scheme, host and port.
        url: String,
        /// What happened.
        #[source]
        source: HttpError,
    },
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Http(#[source] HttpError),
    /// The body is longer than allowed.
    #[error(
        "Synapse's answer to {endpoint} is longer than {limit} bytes; read its database instead"
    )]
    TooLong {
        /// The path.
        endpoint: String,
        /// The limit.
        limit: usize,
    },
    /// The body is no JSON, or not of the form that the endpoint has.
    #[error(
        "Synapse's answer to {endpoint} is not the JSON expected; check that the URL leads to Synapse and to no other service"
    )]
    NotJson {
        /// The path.
        endpoint: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Any other answer than success.
    #[error("Synapse answered {endpoint} with {status} {errcode}; its log says more")]
    Refused {
        /// The path.
        endpoint: String,
        /// The status.
        status: StatusCode,
        /// Matrix's error code, if there was one.
        errcode: String,
    },
    /// 401 on the administrator's token.
    #[error(
        "Synapse does not accept the admin token; log in as an administrator and give the new access token"
    )]
    AdminToken,
    /// The token is not an administrator's.
    #[error(
        "the admin token belongs to {user}, who is no administrator of the server; give an administrator's token, or make the user one with `PUT /_synapse/admin/v1/users/{user}/admin`"
    )]
    NotAdmin {
        /// Whose token it is.
        user: String,
    },
    /// The listener has no admin API.
    #[error(
        "Synapse has no admin API at this URL; give the URL of a listener with the resource `client`, not through a proxy that hides `/_synapse/admin`"
    )]
    NoAdminApi,
    /// The listener does not publish keys.
    #[error(
        "Synapse does not publish its signing key at this URL; add the resource `federation` or `keys` to the listener"
    )]
    NoKeys,
    /// `hs_disabled` is set.
    #[error(
        "Synapse is frozen (`hs_disabled`), and lets only support users read as other users; make the administrator one with `PUT /_synapse/admin/v2/users/USER {{\"user_type\": \"support\"}}`, and start Synapse again"
    )]
    Frozen,
    /// The signing key file can't be read.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The signing key is not the one that Synapse publishes.
    #[error(
        "wrong signing key: the file holds {given}, Synapse signs with {published}; give the file that `signing_key_path` in homeserver.yaml names"
    )]
    WrongSigningKey {
        /// The id in the file, and the public key.
        given: String,
        /// The ids that Synapse publishes, and the public keys.
        published: String,
    },
    /// The server has another name than given.
    #[error("the server at this URL is {found}, not {expected}; check the URL and the server name")]
    OtherServer {
        /// The name given.
        expected: OwnedServerName,
        /// The name that the server gives itself.
        found: OwnedServerName,
    },
    /// Federation failed for good.
    #[error(transparent)]
    Federation(#[from] ClientError),
    /// A scratch file can't be written or read.
    #[error(
        "the directory for temporary files can't be used; make room there, or name another one with TMPDIR"
    )]
    Spool(#[source] io::Error),
    /// Login tokens that are still valid.
    #[error(
        "{number} login tokens could not be revoked; they expire within a week, or sooner when the admin token's owner uses `POST /_matrix/client/v3/logout/all`"
    )]
    TokensLeft {
        /// How many.
        number: usize,
    },
}

impl ApiError {
    /// Whether nothing else can be read either. Other errors concern one item.
    pub(super) fn ends_run(&self) -> bool {
        !matches!(self, Self::TooLong { .. } | Self::NotJson { .. } | Self::Refused { .. })
    }

    /// Whether the endpoint exists and has nothing to give, or not to us.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
            }
            _ => false,
        }
    }

    /// Whether Synapse has no such endpoint: it is older, or this one is closed off.
    pub(super) fn is_unknown_endpoint(&self) -> bool {
        matches!(self, Self::Refused { errcode, status, .. }
            if errcode == "M_UNRECOGNIZED" || *status == StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(super) fn has_errcode(&self, code: &str) -> bool {
        matches!(self, Self::Refused { errcode, .. } if errcode == code)
    }
}

/// What is absent is `None`.
pub(super) fn optional<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
