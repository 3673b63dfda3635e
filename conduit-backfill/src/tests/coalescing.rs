//! What callers see.

use std::{sync::Arc, time::Duration};

use ruma::{RoomVersionId, owned_event_id, owned_room_id};

use super::mock_upstream::{Answer, Asked, MockUpstream, backfill, newest, talk};
use crate::{
    BackfillError, Progress,
    backfill::{Backfill, Options},
    host::Host,
};

#[tokio::test]
async fn older_gives_what_is_wanted_and_goes_ahead() {
    let story = talk("10", 1000);
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::new(story));
    let room = upstream.story.room();
    let backfill = backfill(&host, &upstream);
    let progress = backfill.older(room, 50).await.unwrap();
    assert!((50..=300).contains(&progress.added) && !progress.complete, "{progress:?}");
    // It goes on by two pages while nobody waits.
    while host.timeline(room).len() < 310 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(host.timeline(room).len(), 310);
    assert_eq!(backfill.older(room, 0).await.unwrap(), Progress::default());
    while host.timeline(room).len() < 510 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn several_callers_share_a_walk() {
    let story = talk("10", 400);
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::new(story));
    let room = upstream.story.room();
    let backfill = backfill(&host, &upstream);
    let mut on_page = |_: &Progress| {};
    let (one, other, all) = tokio::join!(
        backfill.older(room, 10),
        backfill.older(room, 150),
        backfill.complete(room, &mut on_page)
    );
    assert!(one.unwrap().added >= 10);
    assert!(other.unwrap().added >= 150);
    assert_eq!(all.unwrap(), Progress { added: 394, complete: true });
    assert_eq!(host.timeline(room), upstream.story.timeline());
    assert_eq!(upstream.count(|asked| matches!(asked, Asked::Backfill(_))), 4);
}

#[tokio::test]
async fn reach_walks_to_an_event_and_no_farther() {
    let story = talk("10", 1000);
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::new(story));
    let room = upstream.story.room();
    let timeline = upstream.story.timeline();
    let options = Options { ahead: 0, ..Options::default() };
    let backfill = Backfill::new(host.clone(), upstream.clone(), options);
    let wanted = &timeline[timeline.len() - 250];
    assert!(backfill.reach(room, wanted).await.unwrap());
    assert_eq!(host.timeline(room).len(), 310);
    assert!(backfill.reach(room, wanted).await.unwrap());
    let asked = upstream.asked.lock().unwrap().len();
    assert!(!backfill.reach(room, &owned_event_id!("$made_up")).await.unwrap());
    assert_eq!(upstream.asked.lock().unwrap().len(), asked + 1);
    assert_eq!(host.timeline(room).len(), 310);
}

#[tokio::test]
async fn an_event_that_was_shown_to_nobody_is_not_walked_to_for_ever() {
    let mut story = talk("10", 300);
    let hidden = story.say("ada", "hidden").unwrap();
    story.withhold(&hidden);
    let timeline = story.timeline();
    for _ in 0..300 {
        let tips = vec![story.timeline().last().unwrap().clone()];
        let content = serde_json::json!({"body": "more"});
        story.send_after(&tips, "ada", "m.room.message", None, content).unwrap();
    }
    assert!(!timeline.contains(&hidden));
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::new(story));
    let options = Options { ahead: 0, ..Options::default() };
    let backfill = Backfill::new(host.clone(), upstream.clone(), options);
    assert!(!backfill.reach(upstream.story.room(), &hidden).await.unwrap());
    assert!(host.timeline(upstream.story.room()).len() < 520);
}

#[tokio::test]
async fn a_dropped_caller_ends_its_walk_and_a_dropped_backfill_all() {
    let story = talk("10", 800);
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::new(story));
    let room = upstream.story.room();
    let backfill = backfill(&host, &upstream);
    let mut on_page = |_: &Progress| {};
    tokio::select! {
        biased;
        () = async { while host.timeline(room).len() < 110 { tokio::time::sleep(Duration::from_millis(1)).await; } } => {}
        _ = backfill.complete(room, &mut on_page) => panic!("it was complete"),
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let there = host.timeline(room).len();
    assert!(there < 600, "{there}");
    assert!(backfill.older(room, 1).await.is_ok());
    drop(backfill);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(host.timeline(room).len() < there.saturating_add(400));
}

#[tokio::test]
async fn errors_name_the_room_and_what_to_do() {
    let story = talk("10", 50);
    let room = story.room().to_owned();
    let host = newest(&story, 10);
    let upstream = Arc::new(MockUpstream::lying(story, |asked, answer| match asked {
        Asked::Backfill(_) => Err(crate::ClientError::RateLimited),
        _ => Ok(answer),
    }));
    let backfill = backfill(&host, &upstream);
    let error = backfill.older(&room, 1).await.unwrap_err();
    assert!(matches!(&error, BackfillError::Upstream { .. }));
    assert!(error.to_string().contains(room.as_str()), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("rc_federation"), "{source}");

    let other = owned_room_id!("!other:example.org");
    let error = backfill.older(&other, 1).await.unwrap_err();
    assert!(matches!(&error, BackfillError::UnknownRoom { room } if *room == other), "{error}");
    let host = newest(&upstream.story, 0);
    host.add_room(&other, RoomVersionId::V1);
    let backfill = super::mock_upstream::backfill(&host, &upstream);
    let error = backfill.complete(&other, &mut |_| {}).await.unwrap_err();
    assert!(matches!(&error, BackfillError::RoomVersion { .. }), "{error}");
}

#[tokio::test]
async fn a_walk_goes_on_after_an_error() {
    let story = talk("10", 250);
    let host = newest(&story, 10);
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Arc::new(MockUpstream::lying(story, move |_, answer: Answer| {
        let count = failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if [3, 7].contains(&count) { Err(crate::ClientError::RateLimited) } else { Ok(answer) }
    }));
    let room = upstream.story.room();
    let backfill = backfill(&host, &upstream);
    let mut failed = 0;
    while backfill.complete(room, &mut |_| {}).await.is_err() {
        failed += 1;
        assert!(failed < 20);
    }
    assert!(failed > 0);
    assert_eq!(host.timeline(room), upstream.story.timeline());
    assert!(host.missing(room).await.unwrap().is_empty());
}
