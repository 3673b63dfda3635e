//! HTTP with bounded time, bounded memory and a bounded number of tries.

use std::time::Duration;

use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;

/// How requests are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole try, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Largest body of an answer, in bytes.
    pub body_limit: usize,
    /// Number of tries of a request, the first one included.
    pub tries: u32,
    /// Time before the second try; doubled before each further one.
    pub first_delay: Duration,
    /// Longest time before another try, also if the server asks for more.
    pub longest_delay: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(120),
            body_limit: 100 << 20,
            tries: 6,
            first_delay: Duration::from_millis(250),
            longest_delay: Duration::from_secs(30),
        }
    }
}

/// The URL of an endpoint: `base`, below the path that it may have, then the segments of the API and the endpoint's own, with
/// this query and no fragment. All are percent-encoded here.
///
/// A `base` that can't have a path, such as `data:`, is given back without them; whoever takes one from an operator refuses
/// it beforehand.
pub fn endpoint(base: &Url, api: &[&str], path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(api).extend(path);
    }
    url.set_query(None);
    url.set_fragment(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Whether a request may reach the server twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It may: asking again changes nothing.
    Safe,
    /// It must not: another try follows only when the server has certainly not begun with it.
    Unsafe,
}

/// An answer of any status, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, no longer than the limit.
    pub body: Vec<u8>,
}

/// An answer whose body may be long.
#[derive(Debug)]
pub enum Opened {
    /// Success; the body is still to be read.
    Body(Response),
    /// Any other status.
    Refused(Answer),
}

/// Why there is no answer. No variant tells a URL, a header or a body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("no connection to the server")]
    Connection(#[source] reqwest::Error),
    /// No answer in time.
    #[error("the server did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The body is longer than allowed; the rest was not read.
    #[error("the answer is longer than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The request or the client can't be built.
    #[error("the request can't be made")]
    Request(#[source] reqwest::Error),
}

/// An HTTP client that keeps connections open.
///
/// Follows no redirects and uses no proxy of the environment: signed requests and tokens go to the named server only.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    options: HttpOptions,
}

impl Http {
    /// Makes a client.
    ///
    /// # Errors
    ///
    /// [`HttpError::Request`] if the TLS backend can't be set up.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(HttpError::Request)?;
        Ok(Self { client, options })
    }

    /// Sends what `request` builds, again after connection errors, timeouts and the statuses 429 and 5xx as often as
    /// [`HttpOptions::tries`] allows. After the last try its answer is given as it is.
    ///
    /// # Errors
    ///
    /// Any [`HttpError`], of the last try.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; whether the server acted on the request is then unknown.
    pub async fn send(
        &self,
        repeat: Repeat,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Answer, HttpError> {
        let mut delay = self.options.first_delay;
        for _ in 1..self.options.tries {
            let (result, asked) = self.try_once(request(&self.client)).await;
            if !is_worth_repeating(&result, repeat) {
                return result;
            }
            let wait = asked.map_or(delay, |asked| asked.max(delay));
            tokio::time::sleep(wait.min(self.options.longest_delay)).await;
            delay = delay.saturating_mul(2);
        }
        self.try_once(request(&self.client)).await.0
    }

    /// Like [`Self::send`] for a request that may be repeated, but leaves the body of a success to the caller, however
    /// long it is. [`HttpOptions::timeout`] does not hold for it: `request` sets one.
    ///
    /// # Errors
    ///
    /// Any [`HttpError`], of the last try.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn open(
        &self,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Opened, HttpError> {
        let mut delay = self.options.first_delay;
        let mut left = self.options.tries;
        loop {
            left = left.saturating_sub(1);
            let (result, asked) = match request(&self.client).send().await {
                Ok(response) if response.status().is_success() => {
                    return Ok(Opened::Body(response));
                }
                Ok(response) => self.read(response).await,
                Err(error) => (Err(self.error(error)), None),
            };
            if left == 0 || !is_worth_repeating(&result, Repeat::Safe) {
                return result.map(Opened::Refused);
            }
            let wait = asked.map_or(delay, |asked| asked.max(delay));
            tokio::time::sleep(wait.min(self.options.longest_delay)).await;
            delay = delay.saturating_mul(2);
        }
    }

    /// One try, and the time that the server asks to wait before the next.
    async fn try_once(
        &self,
        request: RequestBuilder,
    ) -> (Result<Answer, HttpError>, Option<Duration>) {
        match request.send().await {
            Ok(response) => self.read(response).await,
            Err(error) => (Err(self.error(error)), None),
        }
    }

    async fn read(&self, response: Response) -> (Result<Answer, HttpError>, Option<Duration>) {
        let status = response.status();
        let headers = response.headers().clone();
        match read_limited(response, self.options.body_limit).await {
            Ok(body) => {
                let asked = wait_asked_for(status, &headers, &body);
                (Ok(Answer { status, headers, body }), asked)
            }
            Err(ReadLimitedError::TooLarge { limit }) => {
                (Err(HttpError::BodyTooLarge { limit }), None)
            }
            Err(ReadLimitedError::Broken(error)) => (Err(self.error(error)), None),
        }
    }

    fn error(&self, error: reqwest::Error) -> HttpError {
        // The URL holds ids of users and rooms, and may hold more.
        let error = error.without_url();
        if error.is_builder() {
            HttpError::Request(error)
        } else if error.is_timeout() && !error.is_connect() {
            HttpError::TimedOut(self.options.timeout)
        } else {
            HttpError::Connection(error)
        }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadLimitedError {
    /// It is longer than allowed; the rest was not read.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The connection broke or the time was over.
    #[error("the body ended early")]
    Broken(#[source] reqwest::Error),
}

/// Reads a body of at most `limit` bytes. The announced length is not trusted: what arrives is counted.
///
/// # Errors
///
/// Any [`ReadLimitedError`].
pub async fn read_limited(
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, ReadLimitedError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ReadLimitedError::Broken)? {
        if chunk.len() > limit.saturating_sub(body.len()) {
            return Err(ReadLimitedError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn is_worth_repeating(result: &Result<Answer, HttpError>, repeat: Repeat) -> bool {
    match (result, repeat) {
        (Ok(answer), Repeat::Safe) => {
            answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.is_server_error()
        }
        (Ok(answer), Repeat::Unsafe) => answer.status == StatusCode::TOO_MANY_REQUESTS,
        (Err(HttpError::Connection(_) | HttpError::TimedOut(_)), Repeat::Safe) => true,
        (Err(HttpError::Connection(error)), Repeat::Unsafe) => error.is_connect(),
        (Err(_), _) => false,
    }
}

/// `Retry-After` in seconds, or Matrix's `retry_after_ms`.
fn wait_asked_for(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: u64,
    }

    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    header.map(Duration::from_secs).or_else(|| {
        let limited: Limited = serde_json::from_slice(body).ok()?;
        Some(Duration::from_millis(limited.retry_after_ms))
    })
}

#[cfg(test)]
mod tests {
    use super::{Url, endpoint};

    #[test]
    fn an_endpoint_lies_below_the_path_of_the_base_and_is_encoded() {
        let url = |base: &str, query: &[(&str, &str)]| {
            let path = ["rooms", "!a/b?c", "messages"];
            let base = Url::parse(base).unwrap();
            endpoint(&base, &["_matrix", "client", "v3"], &path, query).to_string()
        };
        assert_eq!(
            url("http://x/below/?old=1#old", &[("from", "a&b")]),
            "http://x/below/_matrix/client/v3/rooms/!a%2Fb%3Fc/messages?from=a%26b"
        );
        assert_eq!(url("http://x", &[]), "http://x/_matrix/client/v3/rooms/!a%2Fb%3Fc/messages");
    }
}
