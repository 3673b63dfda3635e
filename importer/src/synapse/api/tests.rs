//! The API source against a scripted Synapse.

mod fake;
mod media;
mod room;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use ruma::OwnedUserId;
use serde_json::json;

use self::fake::{ADMIN_TOKEN, Fake, KEY, LOGIN_TOKEN};
use super::{ApiError, ApiSource};
use crate::{
    source::{Source, SourceError},
    tally::{Kind, Skip, Tally},
};

fn alice() -> OwnedUserId {
    "@alice:example.org".try_into().unwrap()
}

/// The API source's own error.
fn api(error: &SourceError) -> Option<&ApiError> {
    match error {
        SourceError::Homeserver(error) => error.downcast_ref(),
        SourceError::Write(_) => None,
    }
}

fn text(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&error.to_string());
        source = error.source();
    }
    format!("{text} {error:?}")
}

#[tokio::test]
async fn a_synapse_that_is_down_is_unreachable() {
    let mut options = Fake::start().await.options();
    // Port 9 is `discard`; nobody listens there.
    options.homeserver = "http://127.0.0.1:9".parse().unwrap();
    let error = ApiSource::connect(options).await.unwrap_err();
    assert!(
        matches!(&error, ApiError::Unreachable { url, .. } if url == "http://127.0.0.1:9"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_checks_token_key_and_name() {
    type Change = fn(&mut Fake);
    let cases: [(Change, &str); 6] = [
        (
            |fake| fake.status("/_matrix/client/v3/account/whoami", 401),
            "does not accept the admin token",
        ),
        (
            |fake| fake.status("/_synapse/admin/v1/users/@admin:example.org/admin", 403),
            "is no administrator",
        ),
        (
            |fake| {
                fake.answer(
                    "/_synapse/admin/v1/users/@admin:example.org/admin",
                    json!({"admin": false}),
                );
            },
            "is no administrator",
        ),
        (
            |fake| {
                fake.reply(
                    &Method::GET,
                    "/_synapse/admin/v1/users/@admin:example.org/admin",
                    404,
                    json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}),
                );
            },
            "has no admin API",
        ),
        (|fake| fake.status("/_matrix/key/v2/server", 404), "does not publish its signing key"),
        (
            |fake| {
                fake.answer(
                    "/_matrix/key/v2/server",
                    json!({"server_name": "example.org", "verify_keys": {"ed25519:1": {"key": "AAAA"}}}),
                );
            },
            "wrong signing key",
        ),
    ];
    for (change, expected) in cases {
        let mut fake = Fake::start().await;
        change(&mut fake);
        let error = ApiSource::connect(fake.options()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let fake = Fake::start().await;
    let mut options = fake.options();
    options.server_name = Some("other.org".try_into().unwrap());
    let error = ApiSource::connect(options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server at this URL is example.org, not other.org; check the URL and the server name"
    );
}

#[tokio::test]
async fn the_server_has_its_keys_and_blocked_rooms() {
    let fake = Fake::start().await;
    fake.answer(
        "/_synapse/admin/v1/rooms",
        json!({"rooms": [{"room_id": "!a:example.org"}, {"room_id": "!b:example.org"}]}),
    );
    fake.answer("/_synapse/admin/v1/rooms/!a:example.org/block", json!({"block": false}));
    fake.answer("/_synapse/admin/v1/rooms/!b:example.org/block", json!({"block": true}));
    let mut options = fake.options();
    options.signing_key = format!("{KEY}\ned25519 second {}\n", "A".repeat(43)).into();
    let mut source = ApiSource::connect(options).await.unwrap();
    let mut tally = Tally::default();
    let server = serde_json::to_value(source.server(&mut tally).await.unwrap()).unwrap();
    assert_eq!(
        server,
        json!({
            "server_name": "example.org",
            "signing_key": {"version": "1", "seed": "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"},
            "old_signing_keys": [
                {
                    "key_id": "ed25519:second",
                    "public_key": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik",
                    "expired_ts": 1_000_000,
                },
                {"key_id": "ed25519:old", "public_key": "b2xk", "expired_ts": 1},
            ],
            "blocked_rooms": ["!b:example.org"],
        })
    );
    assert_eq!(tally.unbalanced(), []);
    assert_eq!(source.info().synapse_version.as_deref(), Some("1.163.2"));
}

#[tokio::test]
async fn all_pages_of_accounts_are_read_even_if_they_lead_in_a_circle() {
    let fake = Fake::start().await;
    fake.answer(
        "/_synapse/admin/v2/users",
        json!({"users": [{"name": "@b:example.org"}, {"name": "@a:elsewhere"}, {"name": "x"}], "next_token": "3"}),
    );
    let mut source = fake.connect().await;
    let mut tally = Tally::default();
    let users = source.users(&mut tally).await.unwrap();
    assert_eq!(users, [OwnedUserId::try_from("@b:example.org").unwrap()]);
    let reasons: Vec<_> = tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
    assert_eq!(reasons, ["foreign-user", "user-id-invalid"]);
    assert_eq!(tally.read[&Kind::User], 3);
}

#[tokio::test]
async fn garbage_instead_of_accounts_ends_the_run() {
    let fake = Fake::start().await;
    fake.text("/_synapse/admin/v2/users", "<html>");
    let error = fake.connect().await.users(&mut Tally::default()).await.unwrap_err();
    assert!(matches!(api(&error), Some(ApiError::NotJson { .. })), "{error}");
}

#[tokio::test]
async fn a_broken_or_endless_account_is_skipped() {
    for (body, expected) in [
        ("{]".to_owned(), "is not the JSON expected"),
        (format!("{{\"name\":\"{}\"}}", "a".repeat(1 << 16)), "is longer than 65536 bytes"),
    ] {
        let fake = Fake::start().await;
        fake.text("/_synapse/admin/v2/users/@alice:example.org", &body);
        let mut tally = Tally::default();
        assert!(fake.connect().await.user(&alice(), &mut tally).await.unwrap().is_none());
        let [Skip { kind, item, reason, detail, .. }] = &tally.skipped[..] else {
            panic!("{tally:?}")
        };
        assert_eq!(
            (*kind, item.as_str(), reason.as_str()),
            (Kind::User, "@alice:example.org", "user-unreadable")
        );
        assert!(detail.contains(expected), "{detail}");
    }
}

#[tokio::test]
async fn an_account_has_what_admin_and_owner_see() {
    let fake = Fake::start().await;
    fake.account();
    let mut source = fake.connect().await;
    let mut tally = Tally::default();
    let user = source.user(&alice(), &mut tally).await.unwrap().unwrap();
    insta::assert_json_snapshot!(serde_json::to_value(user).unwrap());
    insta::assert_json_snapshot!("tally", (&tally.read, &tally.skipped));
    assert_eq!(fake.logouts().await, 1);
    source.close().await.unwrap();
    assert_eq!(fake.logouts().await, 1);
}

#[tokio::test]
async fn a_locked_account_is_read_without_login() {
    let fake = Fake::start().await;
    fake.account();
    fake.answer(
        "/_synapse/admin/v2/users/@alice:example.org",
        json!({"name": "@alice:example.org", "locked": true}),
    );
    let mut tally = Tally::default();
    let user = fake.connect().await.user(&alice(), &mut tally).await.unwrap().unwrap();
    assert!(user.locked);
    let reasons: Vec<_> = tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
    assert_eq!(reasons, ["room-id-invalid", "user-locked"]);
    assert_eq!(fake.logouts().await, 0);
}

#[tokio::test]
async fn a_login_token_is_given_back_after_an_interruption() {
    let fake = Fake::start().await;
    fake.account();
    fake.hang("/_matrix/client/v3/sync");
    let mut source = fake.connect().await;
    let (user, mut tally) = (alice(), Tally::default());
    let interrupted =
        tokio::time::timeout(Duration::from_millis(500), source.user(&user, &mut tally)).await;
    assert!(interrupted.is_err());
    assert_eq!(fake.logouts().await, 0);
    source.close().await.unwrap();
    assert_eq!(fake.logouts().await, 1);
}

#[tokio::test]
async fn a_login_token_that_can_not_be_given_back_is_told() {
    let fake = Fake::start().await;
    fake.account();
    fake.reply(&Method::POST, "/_matrix/client/v3/logout", 404, json!({}));
    let mut source = fake.connect().await;
    let error = source.user(&alice(), &mut Tally::default()).await.unwrap_err();
    assert!(matches!(api(&error), Some(ApiError::TokensLeft { number: 1 })), "{error}");
    let error = source.close().await.unwrap_err();
    assert!(matches!(api(&error), Some(ApiError::TokensLeft { number: 1 })), "{error}");
}

#[tokio::test]
async fn a_frozen_synapse_ends_the_run_with_a_remedy() {
    let fake = Fake::start().await;
    fake.account();
    fake.reply(
        &Method::POST,
        "/_synapse/admin/v1/users/@alice:example.org/login",
        403,
        json!({"errcode": "M_RESOURCE_LIMIT_EXCEEDED"}),
    );
    let error = fake.connect().await.user(&alice(), &mut Tally::default()).await.unwrap_err();
    assert!(matches!(api(&error), Some(ApiError::Frozen)), "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_output_holds_a_secret() {
    let fake = Fake::start().await;
    fake.account();
    fake.status("/_matrix/client/v3/sync", 401);
    let mut source = fake.connect().await;
    let mut tally = Tally::default();
    source.user(&alice(), &mut tally).await.unwrap();
    fake.status("/_synapse/admin/v2/users", StatusCode::UNAUTHORIZED.as_u16());
    let error = source.users(&mut tally).await.unwrap_err();
    let printed = format!("{source:?} {tally:?} {}", text(&error));
    let seed = KEY.rsplit(' ').next().unwrap();
    for secret in [ADMIN_TOKEN, LOGIN_TOKEN, seed] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
