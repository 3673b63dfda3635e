use reqwest::Url;
use ruma::{device_id, user_id};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header, method, path},
};

use super::{Renewed, ask};
use crate::{
    http::{Http, HttpOptions},
    predecessor::password::AskError,
};

/// What comes of an answer to `/refresh` and one to `/account/whoami`.
async fn asked(
    (refresh_status, refresh): (u16, Value),
    (whoami_status, whoami): (u16, Value),
) -> Result<Option<Renewed>, AskError> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/_matrix/client/v3/refresh"))
        .and(body_json(json!({"refresh_token": "syr_old"})))
        .respond_with(ResponseTemplate::new(refresh_status).set_body_json(refresh))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/_matrix/client/v3/account/whoami"))
        .and(header("authorization", "Bearer syt_new"))
        .respond_with(ResponseTemplate::new(whoami_status).set_body_json(whoami))
        .mount(&server)
        .await;
    let http = Http::new(HttpOptions { tries: 1, ..HttpOptions::default() }).unwrap();
    ask(&http, &Url::parse(&server.uri()).unwrap(), "syr_old").await
}

fn tokens() -> (u16, Value) {
    let tokens = json!({"access_token": "syt_new", "refresh_token": "syr_new", "expires_in_ms": 1});
    (200, tokens)
}

fn owner() -> (u16, Value) {
    (200, json!({"user_id": "@a:example.org", "device_id": "PHONE"}))
}

#[tokio::test]
async fn a_session_is_renewed() {
    let renewed = asked(tokens(), owner()).await.unwrap().unwrap();
    let expected = Renewed {
        user_id: user_id!("@a:example.org").to_owned(),
        device_id: device_id!("PHONE").to_owned(),
        access_token: "syt_new".to_owned(),
    };
    assert_eq!(renewed, expected);
    assert_eq!(format!("{renewed:?}"), "Renewed(@a:example.org, PHONE)");
}

#[tokio::test]
async fn a_refusal_is_synapses_word_only_with_an_error_code() {
    let refused = (401, json!({"errcode": "M_UNKNOWN_TOKEN", "error": "invalid refresh token"}));
    assert_eq!(asked(refused.clone(), owner()).await.unwrap(), None);
    assert_eq!(asked(tokens(), refused).await.unwrap(), None);
    for unclear in [(403, json!("a proxy's")), (404, json!({})), (500, json!({})), (200, json!([]))]
    {
        let error = asked(unclear.clone(), owner()).await.unwrap_err();
        assert!(matches!(error, AskError::Unexpected(_)), "{unclear:?}: {error}");
    }
    let error = asked((429, json!({"errcode": "M_LIMIT_EXCEEDED"})), owner()).await.unwrap_err();
    assert!(matches!(error, AskError::RateLimited), "{error}");
    // A session without a device, such as an application service's.
    let error = asked(tokens(), (200, json!({"user_id": "@a:example.org"}))).await.unwrap_err();
    assert!(matches!(error, AskError::Unexpected(_)), "{error}");
}
