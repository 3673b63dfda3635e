//! A scripted Conduit with one room, whose events are numbered from 0, the create event, upwards.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use conduit_backfill::http::HttpOptions;
use ruma::{OwnedUserId, room_id, user_id};
use serde_json::json;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

use super::{Conduit, DrainError, FAILING, Outcome, Reached, Room, Tokens, drain};
use crate::progress::Progress;

/// Events of a page.
const PAGE: u64 = 3;

/// The room, as far as it is there.
struct Scripted {
    /// The oldest event; each page that reaches it makes older ones come, until this is 0.
    first: AtomicU64,
    /// The oldest event that ever comes.
    last: u64,
    newest: u64,
    visibility: &'static str,
    /// The oldest event that each token may see.
    sees: BTreeMap<&'static str, u64>,
}

impl Respond for Scripted {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let bearer = request.headers.get("authorization").unwrap().to_str().unwrap();
        let token = bearer.strip_prefix("Bearer ").unwrap();
        let path = request.url.path();
        if path.ends_with("/state/m.room.history_visibility") {
            let content = json!({"history_visibility": self.visibility});
            return ResponseTemplate::new(200).set_body_json(content);
        }
        assert_eq!(path, "/_matrix/client/v3/rooms/!r:x/messages");
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        assert_eq!(query["dir"], "b");
        if token == "unlucky" && query.contains_key("from") {
            return ResponseTemplate::new(500).set_body_json(json!({}));
        }
        let Some(sees) = self.sees.get(token) else {
            let status = if token == "left" { 403 } else { 401 };
            return ResponseTemplate::new(status).set_body_json(json!({}));
        };
        let from = query.get("from").map_or(self.newest + 1, |from| from.parse().unwrap());
        let first = self.first.load(Ordering::Relaxed);
        let first = if from < first.saturating_add(PAGE) {
            first.saturating_sub(PAGE).max(self.last)
        } else {
            first
        };
        self.first.store(first, Ordering::Relaxed);
        // Conduit takes a page, and leaves out what the user may not see.
        let page = (first..from).rev().take(PAGE.try_into().unwrap());
        let events: Vec<_> = page.filter(|event| event >= sees).collect();
        let chunk: Vec<_> = events.iter().map(|number| event(*number)).collect();
        let end = events.last().map(ToString::to_string);
        ResponseTemplate::new(200).set_body_json(json!({"start": "x", "chunk": chunk, "end": end}))
    }
}

fn event(number: u64) -> serde_json::Value {
    let id = format!("$event{number}");
    match number {
        0 => json!({"event_id": id, "type": "m.room.create", "state_key": ""}),
        _ => json!({"event_id": id, "type": "m.room.message"}),
    }
}

fn room() -> Scripted {
    Scripted {
        first: AtomicU64::new(9),
        last: 0,
        newest: 10,
        visibility: "shared",
        sees: BTreeMap::from([("everything", 0), ("also", 0), ("recent", 5), ("unlucky", 0)]),
    }
}

async fn read(scripted: Scripted, users: &[(&str, &str)]) -> (Outcome, Option<DrainError>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(scripted).mount(&server).await;
    read_at(&server.uri(), users, 1).await
}

async fn read_at(
    url: &str,
    users: &[(&str, &str)],
    number: usize,
) -> (Outcome, Option<DrainError>) {
    let options = HttpOptions { tries: 1, ..HttpOptions::default() };
    let conduit = Conduit::new(url.parse().unwrap(), options).unwrap();
    let mut tokens = Tokens::default();
    let mut members: Vec<OwnedUserId> = Vec::new();
    for (user, token) in users {
        if !token.is_empty() {
            tokens.read(&format!("{user} {token}\n")).unwrap();
        }
        members.push((*user).try_into().unwrap());
    }
    let rooms = vec![Room { room_id: room_id!("!r:x").to_owned(), members }; number];
    drain(&conduit, &tokens, &rooms, 2, Progress::Hidden, std::future::pending()).await
}

#[tokio::test]
async fn a_room_is_read_to_its_beginning_as_one_user() {
    let (outcome, error) = read(room(), &[("@a:x", "everything"), ("@b:x", "also")]).await;
    assert!(error.is_none(), "{error:?}");
    let [room] = outcome.rooms.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((room.reached, room.events), (Reached::Beginning, 11));
    assert_eq!((room.users.as_slice(), &room.oldest), (&[user_id!("@a:x").to_owned()][..], &None));
    assert!(outcome.is_whole() && outcome.is_complete());
}

#[tokio::test]
async fn where_one_sees_nothing_more_another_one_goes_on() {
    let users =
        [("@a:x", "recent"), ("@b:x", "forgotten"), ("@c:x", "left"), ("@d:x", "everything")];
    let (outcome, _) = read(room(), &users).await;
    let [room] = outcome.rooms.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((room.reached, room.events), (Reached::Beginning, 11));
    assert_eq!(room.users, [user_id!("@a:x"), user_id!("@d:x")]);
}

#[tokio::test]
async fn what_nobody_may_see_is_told_from_what_does_not_come() {
    for (visibility, reached) in [("joined", Reached::Visible), ("shared", Reached::Stopped)] {
        let scripted = Scripted { visibility, ..room() };
        let (outcome, _) = read(scripted, &[("@a:x", "recent")]).await;
        assert_eq!(outcome.rooms[0].reached, reached, "{visibility}");
        assert_eq!(outcome.rooms[0].oldest.as_ref().unwrap(), "$event5");
        assert_eq!(
            (outcome.is_complete(), outcome.is_whole()),
            (reached == Reached::Visible, false)
        );
    }
}

#[tokio::test]
async fn a_conduit_that_fetches_nothing_is_not_done() {
    let scripted = Scripted { last: 9, ..room() };
    let (outcome, _) = read(scripted, &[("@a:x", "everything")]).await;
    assert_eq!((outcome.rooms[0].reached, outcome.rooms[0].events), (Reached::Stopped, 2));
    assert!(!outcome.is_complete());
}

#[tokio::test]
async fn rooms_that_nobody_can_read_say_why() {
    let (outcome, _) = read(room(), &[("@a:x", "")]).await;
    assert_eq!(outcome.rooms[0].reached, Reached::NotAsked);
    let (outcome, _) = read(room(), &[("@a:x", "forgotten")]).await;
    assert_eq!(outcome.rooms[0].reached, Reached::NotAsked);
    assert!(outcome.rooms[0].problem.as_ref().unwrap().contains("logged out"));
    assert!(!outcome.is_complete());
    let (outcome, _) = read(room(), &[]).await;
    assert_eq!((outcome.rooms[0].reached, outcome.is_complete()), (Reached::Left, true));
}

#[tokio::test]
async fn an_error_ends_one_room_and_many_in_a_row_end_the_run() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(room()).mount(&server).await;
    let users = [("@a:x", "unlucky"), ("@b:x", "everything")];
    let (outcome, error) = read_at(&server.uri(), &users, FAILING - 1).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((outcome.rooms.len(), outcome.is_complete()), (FAILING - 1, false));
    for room in &outcome.rooms {
        assert_eq!((room.reached, room.events), (Reached::Failed, PAGE));
        assert_eq!(room.oldest.as_ref().unwrap(), "$event8");
        assert!(room.problem.as_ref().unwrap().contains("500"), "{room:?}");
    }
    let (outcome, error) = read_at(&server.uri(), &users, 3 * FAILING).await;
    assert!(matches!(error, Some(DrainError::Failing { .. })), "{error:?}");
    assert_eq!((outcome.rooms.len(), outcome.not_reached), (FAILING, 20));
}

#[tokio::test]
async fn a_conduit_that_is_gone_ends_the_run() {
    let (outcome, error) = read_at("http://127.0.0.1:9", &[("@a:x", "everything")], 1).await;
    assert!(matches!(error, Some(DrainError::Conduit(_))), "{error:?}");
    assert_eq!((outcome.not_reached, outcome.is_complete()), (1, false));
}

#[test]
fn a_token_file_is_lines_of_users_and_tokens() {
    let mut tokens = Tokens::default();
    tokens.read("@a:x one\n\n  @b:x\ttwo \n").unwrap();
    assert!(tokens.has(user_id!("@a:x")) && tokens.has(user_id!("@b:x")));
    for bad in ["@a:x", "a one", "@a:x one two"] {
        let error = tokens.read(&format!("@c:x three\n{bad}\n")).unwrap_err();
        assert_eq!(error.to_string(), "line 2 of the token file is not `@user:server TOKEN`");
    }
}

#[test]
fn a_room_that_is_whole_or_can_t_be_in_conduit_is_not_read() {
    let member =
        |membership| json!({"user_id": "@a:x", "membership": membership, "event_id": "$m"});
    let room = |version: &str, state: Option<u64>, earlier: Option<u64>| {
        let head = json!({
            "room_id": "!r:x", "room_version": version, "published": false, "aliases": [],
            "current_state": state, "forward_extremities": [], "earlier_events": earlier,
            "local_members": [member("join"), member("leave")],
        });
        Room::of(&serde_json::from_value(head).unwrap())
    };
    let read = room("10", Some(1), Some(7)).unwrap();
    assert_eq!((read.room_id.as_str(), read.members.len()), ("!r:x", 1));
    assert!(room("10", Some(1), None).is_some());
    assert_eq!(room("10", Some(1), Some(0)), None);
    assert_eq!(room("10", None, Some(7)), None);
    assert_eq!(room("2", Some(1), Some(7)), None);
}
