//! Signing requests: <https://spec.matrix.org/v1.16/server-server-api/#request-authentication>.

use reqwest::{Method, Url, header::HeaderValue};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    api::federation::authentication::XMatrix, signatures::KeyPair,
};

use super::{ClientError, SigningKey};

/// The `Authorization` header of a request, whose origin and destination are both `server_name`.
///
/// # Errors
///
/// [`ClientError::Header`] if the name has characters that no header can have.
pub(super) fn authorization(
    key: &SigningKey,
    server_name: &ServerName,
    method: &Method,
    url: &Url,
    content: Option<CanonicalJsonValue>,
) -> Result<HeaderValue, ClientError> {
    let mut uri = url.path().to_owned();
    if let Some(query) = url.query() {
        uri.push('?');
        uri.push_str(query);
    }
    let mut signed = CanonicalJsonObject::from([
        ("method".to_owned(), method.as_str().to_owned().into()),
        ("uri".to_owned(), uri.into()),
        ("origin".to_owned(), server_name.as_str().to_owned().into()),
        ("destination".to_owned(), server_name.as_str().to_owned().into()),
    ]);
    if let Some(content) = content {
        signed.insert("content".to_owned(), content);
    }
    let signature = key.sign(CanonicalJsonValue::Object(signed).to_string().as_bytes());
    let name = || OwnedServerName::from(server_name);
    let signature = ruma::serde::Base64::new(signature.as_bytes().to_owned());
    let header = XMatrix::new(name(), name(), key.id().to_owned(), signature);
    HeaderValue::from_str(&header.to_string()).map_err(|_| ClientError::Header)
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};
    use ruma::{canonical_json::to_canonical_value, server_name};
    use serde_json::json;

    use super::{SigningKey, authorization};

    // The signatures were made with the Python package signedjson.

    fn key() -> SigningKey {
        SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap()
    }

    #[test]
    fn a_request_without_content_is_signed() {
        let url = Url::parse(
            "http://127.0.0.1:8008/_matrix/federation/v1/backfill/!r:example.org?limit=1&v=%24e",
        )
        .unwrap();
        let header =
            authorization(&key(), server_name!("example.org"), &Method::GET, &url, None).unwrap();
        assert_eq!(
            header,
            "X-Matrix destination=example.org,key=\"ed25519:1\",origin=example.org,\
             sig=\"F+y1hLAqMeaaodVHr/gTNPMsw/vmUVAD5UmEqtQQqDc9Zo3/byT1CzCWxf3p0pXZah0OfP1Fp4fhqIBX0BsZDg\""
        );
    }

    #[test]
    fn a_request_with_content_is_signed() {
        let url = Url::parse("http://127.0.0.1:8008/_matrix/federation/v1/x").unwrap();
        let content = to_canonical_value(json!({"b": 1, "a": "ü"})).unwrap();
        let header = authorization(
            &key(),
            server_name!("example.org:8448"),
            &Method::POST,
            &url,
            Some(content),
        )
        .unwrap();
        assert_eq!(
            header,
            "X-Matrix destination=\"example.org:8448\",key=\"ed25519:1\",origin=\"example.org:8448\",\
             sig=\"8OLtJ95XCDL0famPVwdyEiBLKsKqf+hT84sU1PhEQROBpwaT/lJo9TCUhi7tsmLIMLmvbDTvqiI8GkcI5y2wAg\""
        );
    }
}
