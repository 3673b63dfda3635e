use reqwest::Url;
use ruma::user_id;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_partial_json, header, method, path},
};

use super::{AskError, ask, is_bcrypt, matches_bcrypt};
use crate::http::{Http, HttpOptions};

/// Password, pepper and the hash that Python's bcrypt made of them as Synapse calls it (cost 4).
const HASHES: [(&str, &str, &str); 3] = [
    ("correct horse", "", "$2b$04$PK3IjKGSOeSxg9CKFiGsg.pFxdVFVAMHjhdrFRN7xVJGd8WZDb.pC"),
    ("\u{fb01} \u{212b}", "pepper", "$2b$04$HzwZmRR4Uaqn/Qazb5RZsu2/ZZIti9cBwrMuMDzt67AWqGETpxqv."),
    (
        "ééééééééééééééééééééééééééééééééééé",
        "pepper",
        "$2b$04$cv/HdfBjMYZLxVfwnEL3NOZ/hNxfF881ohPUnmNmY9WEB4ZMThNJ.",
    ),
];

#[test]
fn synapses_hashes_are_matched() {
    for (password, pepper, hash) in HASHES {
        assert!(matches_bcrypt(password, pepper, hash), "{password}");
        assert!(!matches_bcrypt(password, "x", hash), "{password}");
        assert!(!matches_bcrypt(&format!("X{password}"), pepper, hash), "{password}");
    }
    assert!(matches_bcrypt("fi \u{c5}", "pepper", HASHES[1].2), "composed otherwise");
}

#[test]
fn what_is_no_hash_matches_nothing() {
    for hash in ["", "*", "!", "$2b$", "$2b$04$", "$2b$99$PK3IjKGSOeSxg9CKFiGsg", "$argon2id$v=19$"]
    {
        assert!(!matches_bcrypt("", "", hash), "{hash}");
    }
    assert!(!is_bcrypt("*") && !is_bcrypt("$argon2id$v=19$"));
}

fn http() -> Http {
    Http::new(HttpOptions { tries: 1, ..HttpOptions::default() }).unwrap()
}

async fn server(login: ResponseTemplate, logouts: u64) -> (MockServer, Url) {
    let server = MockServer::start().await;
    let url = Url::parse(&server.uri()).unwrap();
    Mock::given(method("POST"))
        .and(path("/_matrix/client/v3/login"))
        .and(body_partial_json(json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "@a:example.org"},
            "password": "secret",
        })))
        .respond_with(login)
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/_matrix/client/v3/logout"))
        .and(header("authorization", "Bearer syt_x"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .expect(logouts)
        .mount(&server)
        .await;
    (server, url)
}

#[tokio::test]
async fn a_right_password_is_accepted_and_its_session_ended() {
    let session = ResponseTemplate::new(200).set_body_json(json!({"access_token": "syt_x"}));
    let (_server, url) = server(session, 1).await;
    assert!(ask(&http(), &url, user_id!("@a:example.org"), "secret").await.unwrap());
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let refused = ResponseTemplate::new(403).set_body_json(json!({"errcode": "M_FORBIDDEN"}));
    let (_server, url) = server(refused, 0).await;
    assert!(!ask(&http(), &url, user_id!("@a:example.org"), "secret").await.unwrap());
}

#[tokio::test]
async fn an_answer_without_verdict_is_an_error() {
    for (answer, text) in [
        (
            ResponseTemplate::new(429),
            "the old server asks to wait; raise `rc_login` in its configuration",
        ),
        (
            ResponseTemplate::new(502),
            "the old server's answer is unusable (status 502 Bad Gateway)",
        ),
        (
            ResponseTemplate::new(200).set_body_string("<html>"),
            "the old server's answer is unusable (status 200 OK)",
        ),
    ] {
        let (_server, url) = server(answer, 0).await;
        let error = ask(&http(), &url, user_id!("@a:example.org"), "secret").await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let nowhere = Url::parse("http://127.0.0.1:9").unwrap();
    let error = ask(&http(), &nowhere, user_id!("@a:example.org"), "secret").await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable(_)), "{error}");
}
