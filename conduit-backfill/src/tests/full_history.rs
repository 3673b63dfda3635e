//! What a walk brings is what was there.

use std::{collections::BTreeMap, sync::Arc};

use ruma::OwnedEventId;
use serde_json::json;

use super::mock_upstream::{Asked, MockUpstream, backfill, key, newest, talk};
use crate::{
    Progress,
    host::{GivenUp, Host, StateMap},
    testing::memory_host::MemoryHost,
    testing::room_builder::RoomBuilder,
};

const VERSIONS: [&str; 10] = ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// Fetches all, and compares all with the story.
pub(super) async fn whole(
    story: RoomBuilder,
    count: usize,
) -> (Arc<MemoryHost>, Arc<MockUpstream>) {
    let host = newest(&story, count);
    let upstream = Arc::new(MockUpstream::new(story));
    let progress =
        backfill(&host, &upstream).complete(upstream.story.room(), &mut |_| {}).await.unwrap();
    let story = &upstream.story;
    let expected = story.timeline();
    let added = expected.len().saturating_sub(count);
    assert_eq!(progress, Progress { added, complete: true });
    assert_eq!(host.timeline(story.room()), expected);
    for id in &expected {
        let told = story.get(id).unwrap();
        let state = host.state_before(story.room(), id).await.unwrap().unwrap();
        assert_eq!(state, told.state_before, "the state before {id}");
        let json = host.event(story.room(), id).await.unwrap().unwrap();
        assert_eq!(json, story.json(told).unwrap());
    }
    let redacted: BTreeMap<OwnedEventId, OwnedEventId> = story
        .events()
        .iter()
        .filter_map(|told| Some((told.pdu.event_id.clone(), told.redacted_by.clone()?)))
        .filter(|(id, _)| !expected[added..].contains(id))
        .collect();
    let mut marked = host.redacted_by(story.room());
    marked.retain(|id, _| redacted.contains_key(id));
    assert_eq!(marked, redacted);
    assert!(host.missing(story.room()).await.unwrap().is_empty());
    (host, upstream)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap().checked_rem(sides).unwrap()
    }
}

/// A room in which anything happens that can.
fn random(version: &str, seed: u64, length: usize) -> RoomBuilder {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut story =
        RoomBuilder::new(version.try_into().unwrap(), "old.example.org", key()).unwrap();
    let people = ["ben", "cleo", "dan"];
    let mut messages: Vec<OwnedEventId> = Vec::new();
    while story.events().len() < length {
        let person = people[dice.roll(people.len())];
        let member = ("m.room.member".to_owned(), story.user(person));
        let state = story.state_after(&story.events().last().unwrap().pdu.event_id);
        let joined = state.get(&member).is_some_and(|id| {
            story.get(id).unwrap().pdu.json["content"].as_object().unwrap()["membership"].as_str()
                == Some("join")
        });
        match dice.roll(12) {
            0 if !joined => drop(story.member(person, person, "join").unwrap()),
            1 if joined => drop(story.member(person, person, "leave").unwrap()),
            2 => {
                let visibility = ["world_readable", "shared", "invited", "joined"][dice.roll(4)];
                let content = json!({"history_visibility": visibility});
                story.state("ada", "m.room.history_visibility", "", content).unwrap();
            }
            3 => {
                let name = json!({"name": format!("Name {}", dice.roll(100))});
                story.state("ada", "m.room.name", "", name).unwrap();
            }
            4 if !messages.is_empty() => {
                let message = messages.swap_remove(dice.roll(messages.len()));
                story.redact("ada", &message).unwrap();
            }
            5 => {
                // A fork: two or three who do not know of each other.
                let tips = story.tips();
                for branch in 0..=dice.roll(3) {
                    let mut tip = tips.clone();
                    for _ in 0..=dice.roll(4) {
                        let (kind, key, content) = if dice.roll(3) == 0 {
                            ("m.room.topic", Some(""), json!({"topic": format!("{branch}")}))
                        } else {
                            ("m.room.message", None, json!({"body": format!("{branch}")}))
                        };
                        tip = vec![story.send_after(&tip, "ada", kind, key, content).unwrap()];
                    }
                }
            }
            _ if joined => messages.push(story.say(person, "hello").unwrap()),
            _ => messages.push(story.say("ada", "hello").unwrap()),
        }
    }
    // All branches meet: what a host has first is one event, as after an import.
    story.say("ada", "the end").unwrap();
    story
}

#[tokio::test]
async fn rooms_of_all_versions_are_fetched_whole() {
    for (seed, version) in VERSIONS.into_iter().enumerate() {
        for round in 0..3 {
            let seed = u64::try_from(seed * 10 + round + 1).unwrap();
            let story = random(version, seed, 60 + 60 * round);
            whole(story, 1).await;
        }
    }
}

#[tokio::test]
async fn a_long_talk_needs_no_states() {
    let (_, upstream) = whole(talk("11", 450), 20).await;
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::Backfill(_))), 5);
    // The last page has the create event, of which is asked whether it is in the timeline.
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::StateIds(_))), 1);
    // The host had neither the create event nor Ada's membership nor the power levels.
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::Event(_))), 3);
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::State(_))), 0);
}

#[tokio::test]
async fn members_unknown_to_the_host_are_fetched_at_once() {
    let mut story = talk("10", 0);
    let people: Vec<_> = (0..30).map(|number| format!("guest{number}")).collect();
    for person in &people {
        story.member(person, person, "join").unwrap();
    }
    for _ in 0..150 {
        story.say("ada", "welcome").unwrap();
    }
    for person in &people {
        story.member(person, person, "leave").unwrap();
    }
    let (_, upstream) = whole(story, 1).await;
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::State(_))), 1);
    assert!(upstream.count(|asked| matches!(asked, Asked::Event(_))) < 10);
}

#[tokio::test]
async fn what_was_shown_to_nobody_is_passed_by() {
    let mut story = talk("9", 30);
    // A soft-failed event between shown ones, as other servers may send.
    let hidden = story.say("ada", "hidden").unwrap();
    let after = story.say("ada", "after").unwrap();
    story.withhold(&hidden);
    for _ in 0..30 {
        story.say("ada", "more").unwrap();
    }
    assert!(story.get(&after).unwrap().shown);
    let (host, upstream) = whole(story, 5).await;
    let given_up = host.given_up(upstream.story.room());
    assert_eq!(given_up, BTreeMap::from([(hidden.clone(), GivenUp::Withheld)]));
    assert_eq!(upstream.count(|asked| *asked == Asked::Event(hidden.clone())), 1);
}

#[tokio::test]
async fn what_came_before_the_move_and_was_redacted_after_it_stays_hidden() {
    let mut story = talk("11", 20);
    let secret = story.say("ada", "secret").unwrap();
    for _ in 0..20 {
        story.say("ada", "more").unwrap();
    }
    let upstream = Arc::new(MockUpstream::new(story.clone()));
    let redaction = story.redact("ada", &secret).unwrap();
    let host = newest(&story, 5);
    backfill(&host, &upstream).complete(story.room(), &mut |_| {}).await.unwrap();
    let json = host.event(story.room(), &secret).await.unwrap().unwrap();
    assert_eq!(json, story.json(story.get(&secret).unwrap()).unwrap());
    assert!(!json["content"].as_object().unwrap().contains_key("body"));
    assert_eq!(host.redacted_by(story.room())[&secret], redaction);
}

/// Ben of another server may redact for a while, and Cleo never may.
#[tokio::test]
async fn a_redaction_is_judged_by_the_power_at_that_time() {
    const BEN: &str = "ben:elsewhere.example.org";
    const CLEO: &str = "cleo:elsewhere.example.org";
    for version in ["10", "11", "12"] {
        let mut story = talk(version, 5);
        let secrets: Vec<_> =
            (0..3).map(|number| story.say("ada", &format!("secret {number}")).unwrap()).collect();
        let powers = |story: &RoomBuilder, power: u8| {
            let mut users = json!({story.user(BEN): power});
            if version != "12" {
                users[story.user("ada")] = 100.into();
            }
            json!({"users": users, "redact": 50})
        };
        story.member(BEN, BEN, "join").unwrap();
        story.member(CLEO, CLEO, "join").unwrap();
        for _ in 0..20 {
            story.say("ada", "more").unwrap();
        }
        let upstream = Arc::new(MockUpstream::new(story.clone()));
        let given = powers(&story, 50);
        story.state("ada", "m.room.power_levels", "", given).unwrap();
        // The first by Ben, who has the power; the second by him, and then by Cleo, who has none; the third by Cleo alone.
        let by_ben =
            [story.redact(BEN, &secrets[0]).unwrap(), story.redact(BEN, &secrets[1]).unwrap()];
        let content = json!({"redacts": secrets[1]});
        story.send_after(&story.tips(), CLEO, "m.room.redaction", None, content).unwrap();
        let content = json!({"redacts": secrets[2]});
        story.send_after(&story.tips(), CLEO, "m.room.redaction", None, content).unwrap();
        let taken = powers(&story, 0);
        story.state("ada", "m.room.power_levels", "", taken).unwrap();
        let host = newest(&story, 6);
        backfill(&host, &upstream).complete(story.room(), &mut |_| {}).await.unwrap();
        for secret in &secrets {
            let json = host.event(story.room(), secret).await.unwrap().unwrap();
            assert_eq!(json, story.json(story.get(secret).unwrap()).unwrap(), "{version}");
        }
        let marked = host.redacted_by(story.room());
        let marked: Vec<_> = secrets.iter().map(|secret| marked.get(secret)).collect();
        assert_eq!(marked, [Some(&by_ben[0]), Some(&by_ben[1]), None], "{version}");
    }
}

#[tokio::test]
async fn a_gap_in_the_middle_is_closed() {
    let story = talk("10", 60);
    let host = newest(&story, 0);
    let timeline = story.timeline();
    for id in timeline[20..30].iter().chain(&timeline[40..]) {
        host.push(story.room(), story.page_event(id).unwrap()).unwrap();
    }
    let upstream = Arc::new(MockUpstream::new(story));
    let story = &upstream.story;
    backfill(&host, &upstream).complete(story.room(), &mut |_| {}).await.unwrap();
    let mut there = host.timeline(story.room());
    there.sort();
    let mut expected = timeline.clone();
    expected.sort();
    assert_eq!(there, expected);
    for id in &timeline {
        let state: StateMap = host.state_before(story.room(), id).await.unwrap().unwrap();
        assert_eq!(state, story.get(id).unwrap().state_before);
    }
}
