//! A scripted Synapse.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use conduit_backfill::http::HttpOptions;
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

use super::super::{ApiOptions, ApiSource};
use crate::dump::{Extent, MediaFiles};

pub(super) const ADMIN_TOKEN: &str = "syt_admin_secret";
pub(super) const LOGIN_TOKEN: &str = "syt_login_secret";
/// The specification's key for its signing test vectors.
pub(super) const KEY: &str = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

type Script = BTreeMap<(String, String), ResponseTemplate>;

/// Answers by method and path; what is not scripted is an unknown endpoint.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Script>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().replace("%2F", "/").replace("%23", "#");
        let key = (request.method.to_string(), path);
        let unknown = json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"});
        self.0
            .lock()
            .unwrap()
            .get(&key)
            .cloned()
            .unwrap_or_else(|| ResponseTemplate::new(404).set_body_json(unknown))
    }
}

pub(super) struct Fake {
    server: MockServer,
    answers: Answers,
}

impl Fake {
    /// A server that has nothing but itself.
    pub(super) async fn start() -> Self {
        let fake = Self { server: MockServer::start().await, answers: Answers::default() };
        Mock::given(any()).respond_with(fake.answers.clone()).mount(&fake.server).await;
        fake.answer(
            "/_matrix/key/v2/server",
            json!({
                "server_name": "example.org",
                "verify_keys": {"ed25519:1": {"key": "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"}},
                "old_verify_keys": {"ed25519:old": {"key": "b2xk", "expired_ts": 1}},
            }),
        );
        fake.answer("/_matrix/client/v3/account/whoami", json!({"user_id": "@admin:example.org"}));
        fake.answer("/_synapse/admin/v1/users/@admin:example.org/admin", json!({"admin": true}));
        fake.answer("/_synapse/admin/v1/server_version", json!({"server_version": "1.163.2"}));
        fake.answer("/_synapse/admin/v1/rooms", json!({"rooms": []}));
        fake
    }

    pub(super) fn options(&self) -> ApiOptions {
        ApiOptions {
            homeserver: self.server.uri().parse().unwrap(),
            admin_token: ADMIN_TOKEN.into(),
            signing_key: KEY.into(),
            server_name: None,
            extent: Extent { media: MediaFiles::Copy, ..Extent::FULL },
            now_ts: 1_000_000,
            http: HttpOptions {
                body_limit: 1 << 16,
                tries: 2,
                first_delay: Duration::from_millis(1),
                ..HttpOptions::default()
            },
        }
    }

    pub(super) async fn connect(&self) -> ApiSource {
        ApiSource::connect(self.options()).await.unwrap()
    }

    /// Scripts a `GET`.
    pub(super) fn answer(&self, path: &str, body: Value) {
        self.reply(&Method::GET, path, 200, body);
    }

    pub(super) fn reply(&self, method: &Method, path: &str, status: u16, body: Value) {
        self.script(method, path, ResponseTemplate::new(status).set_body_json(body));
    }

    /// Scripts a `GET` of what is not there.
    pub(super) fn missing(&self, path: &str) {
        self.reply(&Method::GET, path, 404, json!({"errcode": "M_NOT_FOUND"}));
    }

    pub(super) fn status(&self, path: &str, status: u16) {
        self.script(&Method::GET, path, ResponseTemplate::new(status));
    }

    pub(super) fn text(&self, path: &str, body: &str) {
        self.script(&Method::GET, path, ResponseTemplate::new(200).set_body_string(body));
    }

    pub(super) fn hang(&self, path: &str) {
        let never = ResponseTemplate::new(200).set_delay(Duration::from_hours(1));
        self.script(&Method::GET, path, never);
    }

    fn script(&self, method: &Method, path: &str, response: ResponseTemplate) {
        let key = (method.to_string(), path.to_owned());
        self.answers.0.lock().unwrap().insert(key, response);
    }

    /// How often the login token was given back.
    pub(super) async fn logouts(&self) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        let expected = format!("Bearer {LOGIN_TOKEN}");
        let is_logout = |request: &&Request| {
            request.url.path() == "/_matrix/client/v3/logout"
                && request.headers.get("authorization").is_some_and(|value| *value == *expected)
        };
        requests.iter().filter(is_logout).count()
    }

    /// The values of a parameter with which a path was asked for.
    pub(super) async fn asked(&self, path: &str, name: &str) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let requests = requests.iter().filter(|request| request.url.path() == path);
        let values = requests.flat_map(|request| request.url.query_pairs().into_owned());
        values.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// How often a path was asked for.
    pub(super) async fn requests(&self, path: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.url.path() == path).count()
    }

    /// Scripts the account of Alice.
    pub(super) fn account(&self) {
        let user = "@alice:example.org";
        let admin = |path: &str| format!("/_synapse/admin/{path}");
        let client = |path: &str| format!("/_matrix/client/v3/{path}");
        self.answer(
            &admin(&format!("v2/users/{user}")),
            json!({
                "name": user, "admin": false, "deactivated": false, "locked": false, "suspended": true,
                "creation_ts": 1_795_465_464, "displayname": "Alice", "avatar_url": null, "erased": false,
                "threepids": [{"medium": "email", "address": "a@b.c", "validated_at": 1, "added_at": 2}],
                "external_ids": [{"auth_provider": "oidc", "external_id": "42"}],
            }),
        );
        self.answer(
            &admin(&format!("v1/users/{user}/accountdata")),
            json!({"account_data": {"global": {"m.direct": {}}, "rooms": {"!r:example.org": {"m.fully_read": {}}, "no": {"x": {}}}}}),
        );
        self.answer(
            &admin(&format!("v2/users/{user}/devices")),
            json!({"devices": [
                {"device_id": "B", "display_name": null, "last_seen_ts": null, "last_seen_ip": null},
                {"device_id": "A", "display_name": "Phone", "last_seen_ts": 5, "last_seen_ip": "::1", "dehydrated": false},
            ]}),
        );
        self.answer(
            &admin(&format!("v1/users/{user}/pushers")),
            json!({"pushers": [{
                "app_display_name": "A", "app_id": "app", "data": {"url": "https://x/"}, "device_display_name": "D",
                "kind": "http", "lang": "en", "profile_tag": "", "pushkey": "pk", "enabled": false, "device_id": "A",
            }]}),
        );
        self.reply(
            &Method::POST,
            &admin(&format!("v1/users/{user}/login")),
            200,
            json!({"access_token": LOGIN_TOKEN}),
        );
        self.reply(&Method::POST, &client("logout"), 200, json!({}));
        self.answer(
            &client(&format!("profile/{user}")),
            json!({"displayname": "Alice", "m.tz": "Europe/Berlin"}),
        );
        self.answer(&client("pushrules/"), json!({"global": {"override": []}}));
        self.answer(&client(&format!("user/{user}/filter/0")), json!({"room": {}}));
        self.answer(
            &client("room_keys/version"),
            json!({"version": "3", "algorithm": "a", "auth_data": {"k": 3}, "etag": "7", "count": 1}),
        );
        self.answer(
            &client("room_keys/version/1"),
            json!({"version": "1", "algorithm": "a", "auth_data": {"k": 1}, "etag": "0", "count": 0}),
        );
        self.answer(
            &client("room_keys/keys"),
            json!({"rooms": {"!r:example.org": {"sessions": {"s": {"is_verified": true}}}}}),
        );
        self.reply(
            &Method::POST,
            &client("keys/query"),
            200,
            json!({
                "device_keys": {user: {"A": {"device_id": "A", "unsigned": {"device_display_name": "Phone"}}, "GONE": {}}},
                "master_keys": {user: {"keys": {"ed25519:m": "m"}}},
                "user_signing_keys": {user: {"keys": {"ed25519:u": "u"}}},
            }),
        );
        self.answer(&client("sync"), sync(user));
        self.answer(
            &format!("/_matrix/federation/v1/user/devices/{user}"),
            json!({"user_id": user, "stream_id": 15, "devices": []}),
        );
    }
}

fn sync(user: &str) -> Value {
    json!({
        "next_batch": "s",
        "rooms": {
            "join": {"!r:example.org": {
                "account_data": {"events": [{"type": "m.tag", "content": {"tags": {"m.favourite": {}}}}]},
                "ephemeral": {"events": [
                    {"type": "m.typing", "content": {"user_ids": []}},
                    {"type": "m.receipt", "content": {
                        "$one": {
                            "m.read": {user: {"ts": 1}, "@bob:example.org": {"ts": 2}},
                            "m.read.private": {user: {"ts": 3, "thread_id": "main"}},
                            "org.example": {user: {"ts": 4}},
                        },
                    }},
                ]},
            }},
        },
    })
}
