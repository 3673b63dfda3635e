//! An invite and the join that it led to were close together, and the old server learned of the invite late: it has accepted and
//! shown the join, and lists a state before it that does not allow it. Whoever was there saw what was said, and so does whoever
//! scrolls back later.

use ruma::OwnedEventId;
use serde_json::{Value, json};

use super::{
    full_history::whole,
    mock_upstream::{key, talk},
};
use crate::testing::room_builder::RoomBuilder;

const BEN: &str = "ben:elsewhere.example.org";
const MEMBER: &str = "m.room.member";

/// A room of which people become members by invitation.
fn private(version: &str, rule: &Value) -> RoomBuilder {
    let mut story =
        RoomBuilder::new(version.try_into().unwrap(), "old.example.org", key()).unwrap();
    story.state("ada", "m.room.join_rules", "", rule.clone()).unwrap();
    story.say("ada", "hello").unwrap();
    story
}

/// Ben comes in after two events of which neither knows of the other; then they talk. The state before his join has `instead` in
/// the place of `state_key`'s membership.
fn joins(
    story: &mut RoomBuilder,
    before: &[OwnedEventId; 2],
    content: Value,
    state_key: &str,
    instead: Option<&OwnedEventId>,
) {
    let ben = story.user(BEN);
    let join = story.send_after(before, BEN, MEMBER, Some(&ben), content).unwrap();
    story.overlook(&join, MEMBER, state_key, instead.map(|id| &**id));
    story.say(BEN, "I am in").unwrap();
    for number in 0..20 {
        story.say("ada", &format!("welcome {number}")).unwrap();
    }
}

/// Something that `sender` does beside what others do at the same time.
fn beside(story: &mut RoomBuilder, tips: &[OwnedEventId], sender: &str) -> OwnedEventId {
    let content = json!({"msgtype": "m.text", "body": "meanwhile"});
    story.send_after(tips, sender, "m.room.message", None, content).unwrap()
}

fn invite(story: &mut RoomBuilder, tips: &[OwnedEventId], sender: &str) -> OwnedEventId {
    let ben = story.user(BEN);
    let content = json!({"membership": "invite"});
    story.send_after(tips, sender, MEMBER, Some(&ben), content).unwrap()
}

const JOIN: &str = "join";

fn join() -> Value {
    json!({"membership": JOIN})
}

#[tokio::test]
async fn a_join_whose_invite_came_late_is_fetched_with_what_follows() {
    for version in ["3", "10", "11", "12"] {
        let mut story = private(version, &json!({"join_rule": "invite"}));
        let tips = story.tips();
        let before = [beside(&mut story, &tips, "ada"), invite(&mut story, &tips, "ada")];
        let ben = story.user(BEN);
        joins(&mut story, &before, join(), &ben, None);
        whole(story, 5).await;
    }
}

#[tokio::test]
async fn two_invites_are_as_good_as_one() {
    let mut story = private("10", &json!({"join_rule": "invite"}));
    for (sender, membership) in [("ada", "invite"), ("cleo", JOIN)] {
        story.member(sender, "cleo", membership).unwrap();
    }
    let tips = story.tips();
    let before = [invite(&mut story, &tips, "cleo"), invite(&mut story, &tips, "ada")];
    let ben = story.user(BEN);
    joins(&mut story, &before, join(), &ben, None);
    whole(story, 5).await;
}

#[tokio::test]
async fn an_invite_after_a_kick_counts() {
    let mut story = private("10", &json!({"join_rule": "invite"}));
    let ben = story.user(BEN);
    story.member("ada", BEN, "invite").unwrap();
    story.member(BEN, BEN, JOIN).unwrap();
    let kick = story.member("ada", BEN, "leave").unwrap();
    let tips = story.tips();
    let before = [beside(&mut story, &tips, "ada"), invite(&mut story, &tips, "ada")];
    joins(&mut story, &before, join(), &ben, Some(&kick));
    whole(story, 5).await;
}

#[tokio::test]
async fn a_restricted_join_needs_its_authoriser_in_its_auth_events_only() {
    let rule = json!({"join_rule": "restricted", "allow": [
        {"type": "m.room_membership", "room_id": "!other:old.example.org"}
    ]});
    for version in ["8", "10"] {
        let mut story = private(version, &rule);
        let cleo = story.user("cleo");
        story.member("ada", "cleo", "invite").unwrap();
        let tips = story.tips();
        let content = json!({"membership": JOIN});
        let joined = story.send_after(&tips, "cleo", MEMBER, Some(&cleo), content).unwrap();
        let before = [beside(&mut story, &tips, "ada"), joined];
        let content = json!({"membership": JOIN, "join_authorised_via_users_server": cleo});
        joins(&mut story, &before, content, &cleo, None);
        whole(story, 5).await;
    }
}

#[tokio::test]
async fn a_knock_that_was_accepted_lets_in() {
    let mut story = private("10", &json!({"join_rule": "knock"}));
    let ben = story.user(BEN);
    let knock = story.member(BEN, BEN, "knock").unwrap();
    let tips = story.tips();
    let before = [beside(&mut story, &tips, "ada"), invite(&mut story, &tips, "ada")];
    joins(&mut story, &before, join(), &ben, Some(&knock));
    whole(story, 5).await;
}

/// What no auth event allows is still refused, whatever the listed state says.
#[tokio::test]
async fn a_join_without_an_invite_is_refused() {
    use crate::host::GivenUp;

    let mut story = talk("10", 5);
    let ben = story.user(BEN);
    let tips = story.tips();
    let joined = story.send_after(&tips, BEN, MEMBER, Some(&ben), join()).unwrap();
    // His message names an auth event by which he is no member.
    story.overlook(&joined, MEMBER, &ben, None);
    story.state("ada", "m.room.join_rules", "", json!({"join_rule": "invite"})).unwrap();
    let kick = story.member("ada", BEN, "leave").unwrap();
    let stray = story.send_after(&[kick], BEN, "m.room.message", None, json!({"body": "me"}));
    let stray = stray.unwrap();
    for number in 0..10 {
        story.say("ada", &format!("more {number}")).unwrap();
    }
    let host = super::mock_upstream::newest(&story, 5);
    let upstream = std::sync::Arc::new(super::mock_upstream::MockUpstream::new(story));
    let backfill = super::mock_upstream::backfill(&host, &upstream);
    let room = upstream.story.room();
    backfill.complete(room, &mut |_| {}).await.unwrap();
    assert_eq!(host.given_up(room)[&stray], GivenUp::Invalid);
    let mut expected = upstream.story.timeline();
    expected.retain(|id| *id != stray);
    assert_eq!(host.timeline(room), expected);
}
