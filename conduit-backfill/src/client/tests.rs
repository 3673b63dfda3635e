//! The client against a scripted server.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use reqwest::Url;
use ruma::{event_id, room_id, server_name};

use super::{Client, ClientError, RoomStateIds, SigningKey};
use crate::http::HttpOptions;

const KEY: &str = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

/// A server that gives one scripted answer per connection, then closes its port.
struct Server {
    base: Url,
    requests: mpsc::Receiver<String>,
}

impl Server {
    fn new(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                sender.send(read_request(&mut stream)).unwrap();
                // The client may have gone away, having read enough.
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        Self { base, requests }
    }

    fn client(&self) -> Client {
        let options = HttpOptions {
            timeout: Duration::from_secs(5),
            body_limit: 1000,
            tries: 3,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(20),
            ..HttpOptions::default()
        };
        let key = SigningKey::parse(KEY).unwrap();
        Client::new(self.base.clone(), server_name!("example.org").to_owned(), key, options)
            .unwrap()
    }

    fn request_lines(&self) -> Vec<String> {
        let first_line = |request: String| request.lines().next().unwrap().to_owned();
        self.requests.try_iter().map(first_line).collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(request).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn event_error(answers: Vec<String>) -> String {
    let server = Server::new(answers);
    server.client().event(event_id!("$e")).await.unwrap_err().to_string()
}

async fn room_error(answers: Vec<String>) -> String {
    let server = Server::new(answers);
    let client = server.client();
    client.state_ids(room_id!("!r:x"), event_id!("$e")).await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_event_comes_as_the_bytes_it_has() {
    let body = r#"{"origin":"x","origin_server_ts":1,"pdus":[{"b" : 1.0, "a":"\u00fc"}]}"#;
    let server = Server::new(vec![answer("200 OK", "", body)]);
    let event = server.client().event(event_id!("$a/b?c")).await.unwrap();
    assert_eq!(event.get(), r#"{"b" : 1.0, "a":"\u00fc"}"#);
    let request = server.requests.recv().unwrap();
    let (line, headers) = request.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /_matrix/federation/v1/event/$a%2Fb%3Fc HTTP/1.1");
    assert!(headers.contains("authorization: X-Matrix destination=example.org,"), "{headers}");
}

#[tokio::test]
async fn queries_and_lists_of_ids_go_out_as_the_specification_has_them() {
    let server = Server::new(vec![
        answer("200 OK", "", r#"{"pdu_ids":["$a"],"auth_chain_ids":["$b"]}"#),
        answer("200 OK", "", r#"{"pdus":[1],"auth_chain":[2]}"#),
        answer("200 OK", "", r#"{"auth_chain":[3]}"#),
        answer("200 OK", "", r#"{"pdus":[4,5]}"#),
        answer("200 OK", "", r#"{"events":[6]}"#),
    ]);
    let client = server.client();
    let room = room_id!("!r:x");
    let event = event_id!("$e");
    let from = [event_id!("$e").to_owned(), event_id!("$f").to_owned()];
    let ids = RoomStateIds {
        pdu_ids: vec![event_id!("$a").to_owned()],
        auth_chain_ids: vec![event_id!("$b").to_owned()],
    };
    assert_eq!(client.state_ids(room, event).await.unwrap(), ids);
    let state = client.state(room, event).await.unwrap();
    assert_eq!((state.pdus.len(), state.auth_chain.len()), (1, 1));
    assert_eq!(client.event_auth(room, event).await.unwrap().len(), 1);
    assert_eq!(client.backfill(room, &from, 100).await.unwrap().len(), 2);
    assert!(client.backfill(room, &[], 100).await.unwrap().is_empty());
    let missing = client.get_missing_events(room, &from, &from, 10, 0).await.unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(
        server.request_lines(),
        [
            "GET /_matrix/federation/v1/state_ids/!r:x?event_id=%24e HTTP/1.1",
            "GET /_matrix/federation/v1/state/!r:x?event_id=%24e HTTP/1.1",
            "GET /_matrix/federation/v1/event_auth/!r:x/$e HTTP/1.1",
            "GET /_matrix/federation/v1/backfill/!r:x?limit=100&v=%24e&v=%24f HTTP/1.1",
            "POST /_matrix/federation/v1/get_missing_events/!r:x HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_path_of_the_base_stands_before_all_requests() {
    let server = Server::new(vec![
        answer("200 OK", "", r#"{"pdus":[1]}"#),
        answer("200 OK", "", r#"{"server_keys":[]}"#),
    ]);
    let base = server.base.join("/old/").unwrap();
    let key = SigningKey::parse(KEY).unwrap();
    let name = server_name!("example.org").to_owned();
    let client = Client::new(base, name, key, HttpOptions::default()).unwrap();
    client.event(event_id!("$e")).await.unwrap();
    assert!(client.server_keys(server_name!("a.example:8448")).await.unwrap().is_empty());
    assert_eq!(
        server.request_lines(),
        [
            "GET /old/_matrix/federation/v1/event/$e HTTP/1.1",
            "GET /old/_matrix/key/v2/query/a.example:8448 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let denied = r#"{"errcode":"M_FORBIDDEN","error":"Federation denied with example.org."}"#;
    let outside = r#"{"errcode":"M_FORBIDDEN","error":"Host not in room."}"#;
    let unknown = r#"{"errcode":"M_UNRECOGNIZED","error":"No."}"#;
    let unsigned = r#"{"errcode":"M_UNAUTHORIZED","error":"Invalid signature."}"#;
    let missing = r#"{"errcode":"M_NOT_FOUND","error":"Could not find event."}"#;
    let cases = [
        (answer("401 Unauthorized", "", unsigned), ClientError::WrongKey),
        (answer("403 Forbidden", "", denied), ClientError::FederationDenied),
        (
            answer("403 Forbidden", "", outside),
            ClientError::NotInRoom { room: room_id!("!r:x").to_owned() },
        ),
        (answer("404 Not Found", "", unknown), ClientError::NoFederation),
        (
            answer("404 Not Found", "", missing),
            ClientError::RoomNotFound { room: room_id!("!r:x").to_owned() },
        ),
        (
            answer("302 Found", "Location: /x\r\n", ""),
            ClientError::Status { status: reqwest::StatusCode::FOUND },
        ),
    ];
    for (answer, error) in cases {
        assert_eq!(room_error(vec![answer]).await, error.to_string());
    }
}

#[tokio::test]
async fn an_unknown_event_is_not_found() {
    let error = ClientError::EventNotFound { event: event_id!("$e").to_owned() }.to_string();
    assert_eq!(event_error(vec![answer("404 Not Found", "", r#""""#)]).await, error);
    let body = r#"{"errcode":"M_NOT_FOUND","error":"No."}"#;
    assert_eq!(event_error(vec![answer("404 Not Found", "", body)]).await, error);
    let error = ClientError::NotSaid { status: reqwest::StatusCode::OK }.to_string();
    assert_eq!(event_error(vec![answer("200 OK", "", r#"{"pdus":[]}"#)]).await, error);
}

/// A proxy, a web server on the wrong port, a listener without federation: their word is not the old server's.
#[tokio::test]
async fn a_refusal_without_a_matrix_error_code_says_nothing() {
    let bodies = [
        "",
        "{}",
        "[]",
        "null",
        "<html>404</html>",
        r#"{"error":"Not found"}"#,
        r#"{"errcode":7}"#,
    ];
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        for body in bodies {
            let server = Server::new(vec![answer(status, "", body); 3]);
            let client = server.client();
            let room = room_id!("!r:x");
            let errors = [
                client.event(event_id!("$e")).await.unwrap_err(),
                client.backfill(room, &[event_id!("$e").to_owned()], 1).await.unwrap_err(),
                client.media("abc").await.unwrap_err(),
            ];
            for error in errors {
                assert!(matches!(error, ClientError::NotSaid { .. }), "{status} {body}: {error}");
                assert!(!error.is_absence() && !error.is_of_room(), "{status} {body}: {error}");
            }
        }
    }
    // Of a room, an empty text says nothing either.
    let error = room_error(vec![answer("404 Not Found", "", r#""""#)]).await;
    assert!(error.contains("has no Matrix error code"), "{error}");
}

#[tokio::test]
async fn an_event_of_a_room_without_local_users_is_not_given() {
    let body = r#"{"errcode":"M_FORBIDDEN","error":"Host not in room."}"#;
    let expected = ClientError::EventNotGiven { event: event_id!("$e").to_owned() };
    assert!(expected.is_absence());
    let error = event_error(vec![answer("403 Forbidden", "", body)]).await;
    assert_eq!(error, expected.to_string());
}

#[tokio::test]
async fn what_is_not_the_json_expected_is_an_error() {
    for body in ["", "<html>", "[]", r#"{"pdus":7}"#, r#"{"pdus":[{"a":]}"#] {
        let error = event_error(vec![answer("200 OK", "", body)]).await;
        assert!(error.contains("is not the JSON expected"), "{body}: {error}");
    }
}

#[tokio::test]
async fn the_limit_of_a_body_holds_with_and_without_an_announced_length() {
    let body = format!(r#"{{"pdus":["{}"]}}"#, "a".repeat(2000));
    let announced = answer("200 OK", "", &body);
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n{body}\r\n0\r\n\r\n");
    let expected = ClientError::BodyTooLarge { limit: 1000 }.to_string();
    for answer in [announced, chunked] {
        assert_eq!(event_error(vec![answer]).await, expected);
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let server = Server::new(vec![
        answer("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        answer("502 Bad Gateway", "", "<html>"),
        answer("200 OK", "", r#"{"pdus":[1]}"#),
    ]);
    server.client().event(event_id!("$e")).await.unwrap();
    assert_eq!(server.request_lines().len(), 3);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_an_error_after_the_last_try() {
    let busy = answer("429 Too Many Requests", "", r#"{"retry_after_ms":1}"#);
    let server = Server::new(vec![busy; 3]);
    let error = server.client().event(event_id!("$e")).await.unwrap_err();
    assert!(matches!(error, ClientError::RateLimited), "{error}");
    assert_eq!(server.request_lines().len(), 3);
}

#[tokio::test]
async fn a_server_that_breaks_off_or_is_down_is_unreachable() {
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned();
    for answers in [vec![broken; 3], vec![]] {
        let error = event_error(answers).await;
        assert!(
            error.starts_with("the old server does not answer at http://127.0.0.1:"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let options =
        HttpOptions { timeout: Duration::from_millis(50), tries: 1, ..HttpOptions::default() };
    let key = SigningKey::parse(KEY).unwrap();
    let name = server_name!("example.org").to_owned();
    let client = Client::new(base, name, key, options).unwrap();
    let error = client.event(event_id!("$e")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_url_of_another_scheme_is_refused() {
    for url in ["ftp://x/", "data:x"] {
        let key = SigningKey::parse(KEY).unwrap();
        let name = server_name!("example.org").to_owned();
        let error =
            Client::new(url.parse().unwrap(), name, key, HttpOptions::default()).unwrap_err();
        assert!(matches!(error, ClientError::BadUrl), "{error}");
    }
}
