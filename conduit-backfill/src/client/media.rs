//! Files of the upstream.

use reqwest::Method;
use ruma::{
    api::{
        IncomingResponse as _,
        federation::authenticated_media::{FileOrLocation, get_content::v1::Response},
    },
    exports::http,
};

use super::{Client, ClientError};
use crate::{client::error::Subject, http::Answer};

/// A file with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The content.
    pub content: Vec<u8>,
    /// Its type, as its uploader said.
    pub content_type: Option<String>,
    /// Its name, as its uploader said.
    pub filename: Option<String>,
}

impl Client {
    /// A local file of the upstream: `GET /v1/media/download/{media_id}`. At most as long as
    /// [`HttpOptions::body_limit`](crate::http::HttpOptions::body_limit).
    ///
    /// # Errors
    ///
    /// [`ClientError::MediaNotFound`], also for a quarantined file; any other [`ClientError`].
    pub async fn media(&self, media_id: &str) -> Result<Media, ClientError> {
        let url = self.url(&["v1", "media", "download", media_id], &[]);
        let answer = self.ask(Method::GET, url, None, Subject::Media(media_id)).await?;
        parse(answer).ok_or(ClientError::NotMedia)
    }
}

fn parse(answer: Answer) -> Option<Media> {
    let mut response = http::Response::new(answer.body);
    *response.headers_mut() = answer.headers;
    let response = Response::try_from_http_response(response).ok()?;
    match response.content {
        FileOrLocation::File(file) => Some(Media {
            content: file.file,
            content_type: file.content_type,
            filename: file.content_disposition.and_then(|disposition| disposition.filename),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::{Answer, Media, parse};

    fn answer(content_type: &str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        Answer { status: StatusCode::OK, headers, body: body.as_bytes().to_vec() }
    }

    const FILE: &str = "\r\n--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\
        Content-Type: image/png\r\nContent-Disposition: inline; filename*=utf-8''%C3%BC.png\r\n\r\n\
        \x01\r\n--c\r\n--b--";

    #[test]
    fn a_file_is_the_second_part() {
        let media = parse(answer("multipart/mixed; boundary=b", FILE)).unwrap();
        let expected = Media {
            content: b"\x01\r\n--c".to_vec(),
            content_type: Some("image/png".into()),
            filename: Some("ü.png".into()),
        };
        assert_eq!(media, expected);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let location =
            "\r\n--b\r\n\r\n{}\r\n--b\r\nLocation: https://cdn.example.org/f\r\n\r\n\r\n--b--";
        let cut = FILE.trim_end_matches("\r\n--b--");
        for (content_type, body) in [
            ("multipart/mixed; boundary=b", location),
            ("multipart/mixed; boundary=b", cut),
            ("multipart/mixed; boundary=other", FILE),
            ("text/html", "<html>"),
        ] {
            assert_eq!(parse(answer(content_type, body)), None, "{content_type} {body:?}");
        }
    }
}
