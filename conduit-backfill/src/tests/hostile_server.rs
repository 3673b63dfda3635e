//! Upstreams that are broken, or lie. Whatever they do, the walk ends, and what is in the timeline is what was there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::StatusCode;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, owned_event_id,
    signatures::{hash_and_sign_event, reference_hash},
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::mock_upstream::{Answer, Asked, MockUpstream, backfill, key, newest, talk};
use crate::{
    BackfillError, Progress,
    client::{ClientError, RoomStateIds, SigningKey},
    host::{GivenUp, Host},
    testing::{memory_host::MemoryHost, room_builder::RoomBuilder},
};

/// A change to the JSON of an event.
type Change = fn(&mut Value);

type Outcome = Result<Progress, BackfillError>;

/// Walks to the end, within a time that no walk needs. What was stored must be right.
async fn walk(upstream: MockUpstream) -> (Arc<MemoryHost>, Arc<MockUpstream>, Outcome) {
    let host = newest(&upstream.story, 10);
    let upstream = Arc::new(upstream);
    let backfill = backfill(&host, &upstream);
    let room = upstream.story.room();
    let walk = async { backfill.complete(room, &mut |_| {}).await };
    let outcome = tokio::time::timeout(Duration::from_secs(60), walk).await;
    let outcome = outcome.expect("the walk does not end");
    let story = &upstream.story;
    let expected = story.timeline();
    let mut place = 0;
    for id in host.timeline(room) {
        let found = expected[place..].iter().position(|other| *other == id);
        let found = found.unwrap_or_else(|| panic!("{id} is not of the room, or not in order"));
        place = place.saturating_add(found).saturating_add(1);
        let told = story.get(&id).unwrap();
        assert_eq!(host.event(room, &id).await.unwrap().unwrap(), story.json(told).unwrap());
        let state = host.state_before(room, &id).await.unwrap().unwrap();
        assert_eq!(state, told.state_before, "the state before {id}");
    }
    (host, upstream, outcome)
}

fn edit(text: &RawValue, change: impl FnOnce(&mut Value)) -> Box<RawValue> {
    let mut value: Value = serde_json::from_str(text.get()).unwrap();
    change(&mut value);
    to_raw_value(&value).unwrap()
}

fn edit_all(answer: Answer, change: impl Fn(&mut Value)) -> Answer {
    match answer {
        Answer::Pdus(pdus) => Answer::Pdus(pdus.iter().map(|pdu| edit(pdu, &change)).collect()),
        Answer::StateIds(_) => answer,
    }
}

/// An event of the room that its server really signed, but that was never in it.
fn forge(
    story: &RoomBuilder,
    key: &SigningKey,
    change: impl FnOnce(&mut Value),
) -> (OwnedEventId, Box<RawValue>) {
    let last = story.events().last().unwrap();
    let mut value = serde_json::to_value(&last.pdu.json).unwrap();
    change(&mut value);
    let mut json: CanonicalJsonObject = serde_json::from_value(value).unwrap();
    json.remove("signatures");
    let rules = story.version().rules().unwrap();
    let signed = hash_and_sign_event(story.server().as_str(), key, &mut json, &rules.redaction);
    let text = to_raw_value(&json).unwrap();
    // What is too large to be signed has no id; it comes under that of another event that was never there.
    if signed.is_err() {
        json = last.pdu.json.clone();
        json.insert("type".into(), "m.never".into());
    }
    let id = EventId::parse(format!("${}", reference_hash(&json, &rules).unwrap())).unwrap();
    (id, text)
}

/// A room with messages that `change` has made: the host has what comes after, the last event is what it made.
fn after_forged(change: impl Fn(&mut Value)) -> (MockUpstream, OwnedEventId) {
    let mut story = talk("10", 40);
    let (id, text) = forge(&story, &key(), change);
    let content = json!({"body": "after"});
    // Nobody checks what this story's events follow.
    let last = story.timeline().last().unwrap().clone();
    story.send_after(&[last, id.clone()], "ada", "m.room.message", None, content).unwrap();
    let forged = id.clone();
    let upstream = MockUpstream::lying(story, move |asked, answer| {
        let named = match asked {
            Asked::Backfill(from) => from.contains(&forged),
            Asked::Event(id) => *id == forged,
            _ => false,
        };
        Ok(match answer {
            Answer::Pdus(mut pdus) if named => {
                pdus.insert(0, text.clone());
                Answer::Pdus(pdus)
            }
            answer => answer,
        })
    });
    (upstream, id)
}

#[tokio::test]
async fn an_invalid_event_is_given_up_and_passed_by() {
    let cases: [(&str, Change); 9] = [
        ("another room", |event| event["room_id"] = "!other:old.example.org".into()),
        ("no room", |event| drop(event.as_object_mut().unwrap().remove("room_id"))),
        ("too large", |event| event["content"]["body"] = "x".repeat(66_000).into()),
        ("a million prev_events", |event| {
            let ids = (0..1_000_000).map(|number| format!("${number}"));
            event["prev_events"] = ids.collect::<Vec<_>>().into();
        }),
        ("many auth_events", |event| {
            event["auth_events"] = (0..11).map(|n| format!("${n}")).collect::<Vec<_>>().into();
        }),
        ("a negative depth", |event| event["depth"] = (-1).into()),
        ("a stranger's", |event| event["sender"] = "@eve:old.example.org".into()),
        ("no auth events", |event| event["auth_events"] = json!([])),
        ("auth events that nobody has", |event| event["auth_events"] = json!(["$nobody"])),
    ];
    for (name, change) in cases {
        let (upstream, forged) = after_forged(change);
        let (host, upstream, outcome) = walk(upstream).await;
        let room = upstream.story.room();
        assert!(outcome.unwrap().complete, "{name}");
        assert_eq!(
            host.given_up(room),
            BTreeMap::from([(forged.clone(), GivenUp::Invalid)]),
            "{name}"
        );
        assert_eq!(host.event(room, &forged).await.unwrap(), None, "{name}");
        assert_eq!(host.timeline(room), upstream.story.timeline(), "{name}");
    }
}

#[tokio::test]
async fn an_absurd_depth_alone_harms_nothing() {
    // The greatest integer of canonical JSON: Synapse accepts that.
    let (upstream, forged) =
        after_forged(|event| event["depth"] = 9_007_199_254_740_991_u64.into());
    let host = newest(&upstream.story, 5);
    let upstream = Arc::new(upstream);
    let room = upstream.story.room();
    let progress = backfill(&host, &upstream).complete(room, &mut |_| {}).await.unwrap();
    assert!(progress.complete);
    let mut timeline = host.timeline(room);
    assert!(timeline.contains(&forged));
    timeline.retain(|id| *id != forged);
    assert_eq!(timeline, upstream.story.timeline());
}

#[tokio::test]
async fn what_nobody_signed_is_not_stored() {
    let story = talk("10", 150);
    let expected = newest(&story, 10).timeline(story.room());
    let upstream = MockUpstream::lying(story, |_, answer| {
        Ok(edit_all(answer, |event| {
            event["signatures"]["old.example.org"]["ed25519:1"] = "A".repeat(86).into();
        }))
    });
    let (host, upstream, outcome) = walk(upstream).await;
    assert!(outcome.is_ok());
    assert_eq!(host.timeline(upstream.story.room()), expected);
    assert!(host.given_up(upstream.story.room()).values().all(|why| *why == GivenUp::Invalid));
}

#[tokio::test]
async fn a_changed_content_is_redacted_and_a_changed_edge_is_another_event() {
    let story = talk("10", 50);
    let upstream = MockUpstream::lying(story.clone(), |_, answer| {
        Ok(edit_all(answer, |event| {
            if event["type"] == "m.room.message" {
                event["content"]["body"] = "I never said that".into();
            }
        }))
    });
    let host = newest(&story, 10);
    let upstream = Arc::new(upstream);
    backfill(&host, &upstream).complete(story.room(), &mut |_| {}).await.unwrap();
    assert_eq!(host.timeline(story.room()), story.timeline());
    let first = host.event(story.room(), &story.timeline()[10]).await.unwrap().unwrap();
    assert_eq!(first["content"], CanonicalJsonValue::Object(CanonicalJsonObject::new()));

    let upstream = MockUpstream::lying(story, |_, answer| {
        Ok(edit_all(answer, |event| event["prev_events"] = json!(["$elsewhere"])))
    });
    let (host, upstream, outcome) = walk(upstream).await;
    assert!(outcome.is_ok());
    assert_eq!(host.timeline(upstream.story.room()).len(), 10);
}

#[tokio::test]
async fn garbage_ends_the_walk() {
    for garbage in ["null", "17", "[]", "{}", r#"{"type":1.5}"#, r#"{"type":"m.room.message"}"#] {
        let story = talk("11", 50);
        let upstream = MockUpstream::lying(story, move |_, answer| {
            Ok(match answer {
                Answer::Pdus(_) => {
                    let text = RawValue::from_string(garbage.to_owned()).unwrap();
                    Answer::Pdus(vec![text; 3000])
                }
                answer @ Answer::StateIds(_) => answer,
            })
        });
        let (host, upstream, outcome) = walk(upstream).await;
        assert!(outcome.is_ok(), "{garbage}");
        assert_eq!(host.timeline(upstream.story.room()).len(), 10, "{garbage}");
    }
}

#[tokio::test]
async fn deep_json_does_not_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let upstream = MockUpstream::lying(talk("11", 50), move |_, answer| {
        Ok(match answer {
            Answer::Pdus(_) => {
                let text = format!(r#"{{"type":"m.room.message","content":{deep}}}"#);
                // Not checked, as the client's parser would.
                match RawValue::from_string(text) {
                    Ok(text) => Answer::Pdus(vec![text]),
                    Err(_) => Answer::Pdus(Vec::new()),
                }
            }
            answer @ Answer::StateIds(_) => answer,
        })
    });
    let (host, upstream, _) = walk(upstream).await;
    assert_eq!(host.timeline(upstream.story.room()).len(), 10);
}

#[tokio::test]
async fn the_same_answer_again_and_again_ends_the_walk() {
    let story = talk("10", 300);
    let page: Vec<_> = story.timeline().iter().rev().take(100).cloned().collect();
    let texts: Vec<Box<RawValue>> =
        page.iter().map(|id| to_raw_value(&story.get(id).unwrap().pdu.json).unwrap()).collect();
    let upstream = MockUpstream::lying(story, move |asked, answer| {
        Ok(match asked {
            Asked::Backfill(_) => Answer::Pdus(texts.clone()),
            _ => answer,
        })
    });
    let (host, upstream, outcome) = walk(upstream).await;
    // What it does not give is asked for one by one, and was shown to nobody if `/backfill` keeps silent on it.
    assert!(outcome.is_ok() || matches!(outcome, Err(BackfillError::NoProgress { .. })));
    assert!(host.timeline(upstream.story.room()).len() >= 100);
}

#[tokio::test]
async fn events_that_nothing_leads_to_are_not_taken() {
    let story = talk("10", 150);
    let (stray, text) = forge(&story, &key(), |event| event["content"]["body"] = "stray".into());
    let counter = AtomicUsize::new(0);
    let upstream = MockUpstream::lying(story, move |asked, answer| {
        let first = counter.fetch_add(1, Ordering::SeqCst) % 2 == 0;
        Ok(match (asked, answer) {
            (Asked::Backfill(_), Answer::Pdus(mut pdus)) => {
                let place = if first { 0 } else { pdus.len() / 2 };
                pdus.insert(place, text.clone());
                Answer::Pdus(pdus)
            }
            (_, answer) => answer,
        })
    });
    let (host, upstream, outcome) = walk(upstream).await;
    assert!(outcome.unwrap().complete);
    assert_eq!(host.timeline(upstream.story.room()), upstream.story.timeline());
    assert!(!host.timeline(upstream.story.room()).contains(&stray));
}

/// Makes an error.
type Failure = fn() -> ClientError;

/// A walk to an upstream that answers `answers` requests and then fails; and how many it was asked for.
async fn failing_after(
    answers: usize,
    failure: Failure,
) -> (Arc<MemoryHost>, Arc<MockUpstream>, Outcome, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let upstream = MockUpstream::lying(talk("10", 350), move |_, answer| {
        let is_broken = counter.fetch_add(1, Ordering::SeqCst) >= answers;
        if is_broken { Err(failure()) } else { Ok(answer) }
    });
    let (host, upstream, outcome) = walk(upstream).await;
    (host, upstream, outcome, asked.load(Ordering::SeqCst))
}

#[tokio::test]
async fn errors_end_the_walk_and_give_nothing_up() {
    let failures: [Failure; 4] = [
        || ClientError::RateLimited,
        || ClientError::Status { status: StatusCode::INTERNAL_SERVER_ERROR },
        || ClientError::NotJson(serde_json::from_str::<Value>("{\"pdus\": [").unwrap_err()),
        || ClientError::BodyTooLarge { limit: 1 },
    ];
    let (_, _, outcome, needed) = failing_after(usize::MAX, failures[0]).await;
    assert!(outcome.unwrap().complete);
    assert!(needed > 3, "{needed}");
    for failure in failures {
        for answers in 0..needed {
            let (host, upstream, outcome, _) = failing_after(answers, failure).await;
            let room = upstream.story.room();
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains(room.as_str()), "{error}");
            assert_eq!(host.given_up(room), BTreeMap::new());
            assert!(!host.missing(room).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_state_that_is_wrong_shows_nothing() {
    type Change = fn(&mut Vec<OwnedEventId>);
    let changes: [(&str, Change); 3] = [
        ("empty", Vec::clear),
        ("an unknown event instead of the visibility", |ids| {
            ids.pop();
            ids.pop();
            ids.push(owned_event_id!("$unknown"));
        }),
        ("unknown events only", |ids| *ids = vec![owned_event_id!("$unknown")]),
    ];
    for (name, change) in changes {
        let mut story = talk("10", 0);
        for number in 0..150 {
            let content =
                json!({"history_visibility": if number % 2 == 0 { "joined" } else { "shared" }});
            story.state("ada", "m.room.history_visibility", "", content).unwrap();
        }
        let upstream = MockUpstream::lying(story, move |_, answer| {
            Ok(match answer {
                Answer::StateIds(RoomStateIds { mut pdu_ids, auth_chain_ids }) => {
                    pdu_ids.sort();
                    change(&mut pdu_ids);
                    Answer::StateIds(RoomStateIds { pdu_ids, auth_chain_ids })
                }
                answer @ Answer::Pdus(_) => answer,
            })
        });
        let host = newest(&upstream.story, 10);
        let upstream = Arc::new(upstream);
        let room = upstream.story.room();
        let outcome = backfill(&host, &upstream).complete(room, &mut |_| {}).await;
        let error = outcome.unwrap_err();
        assert!(matches!(&error, BackfillError::State { .. }), "{name}: {error}");
        assert_eq!(host.timeline(room).len(), 10, "{name}");
    }
}

#[tokio::test]
async fn a_forged_key_signs_nothing() {
    let mut story = talk("10", 40);
    let other = SigningKey::new("1", &[9; 32]).unwrap();
    let (forged, text) = forge(&story, &other, |event| event["content"]["body"] = "mine".into());
    let last = story.timeline().last().unwrap().clone();
    let content = json!({"body": "after"});
    story.send_after(&[last, forged.clone()], "ada", "m.room.message", None, content).unwrap();
    let upstream = MockUpstream::lying(story, move |asked, answer| {
        Ok(match (asked, answer) {
            (Asked::Backfill(_) | Asked::Event(_), Answer::Pdus(mut pdus)) => {
                pdus.push(text.clone());
                Answer::Pdus(pdus)
            }
            (_, answer) => answer,
        })
    });
    let (host, upstream, outcome) = walk(upstream).await;
    let room = upstream.story.room();
    assert!(outcome.unwrap().complete);
    assert_eq!(host.given_up(room)[&forged], GivenUp::Invalid);
    assert_eq!(host.timeline(room), upstream.story.timeline());
}
