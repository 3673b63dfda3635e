//! What the old server says once may be a mistake; what it says again later is not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::mock_upstream::{Answer, Asked, MockUpstream, backfill, newest, talk};
use crate::{
    BackfillError,
    client::ClientError,
    host::{GivenUp, Host},
    testing::memory_host::MemoryHost,
    verdict::AGAIN,
};

/// Answers every question with `wrong` until `right` is set.
fn wrong(
    wrong: impl Fn(&Asked) -> Result<Answer, ClientError> + Send + Sync + 'static,
) -> (Arc<MemoryHost>, Arc<MockUpstream>, Arc<AtomicBool>) {
    let story = talk("10", 250);
    let host = newest(&story, 10);
    let right = Arc::new(AtomicBool::new(false));
    let is_right = right.clone();
    let upstream = MockUpstream::lying(story, move |asked, answer| {
        if is_right.load(Ordering::SeqCst) { Ok(answer) } else { wrong(asked) }
    });
    (host, Arc::new(upstream), right)
}

fn absent(asked: &Asked) -> Result<Answer, ClientError> {
    match asked {
        Asked::Event(id) => Err(ClientError::EventNotFound { event: id.clone() }),
        _ => Ok(Answer::Pdus(Vec::new())),
    }
}

/// `{"pdus":[]}`, and 404 with a page of HTML: nothing is given up.
#[tokio::test]
async fn what_is_not_the_old_servers_word_gives_nothing_up() {
    let (host, upstream, right) = wrong(|asked| match asked {
        Asked::Event(_) => Err(ClientError::NotSaid { status: reqwest::StatusCode::NOT_FOUND }),
        _ => Ok(Answer::Pdus(Vec::new())),
    });
    let room = upstream.story.room();
    let error = backfill(&host, &upstream).complete(room, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, BackfillError::Upstream { .. }) && !error.is_lasting(), "{error}");
    assert!(host.given_up(room).is_empty());
    right.store(true, Ordering::SeqCst);
    assert!(backfill(&host, &upstream).complete(room, &mut |_| {}).await.unwrap().complete);
    assert_eq!(host.timeline(room), upstream.story.timeline());
}

#[tokio::test]
async fn an_event_that_was_not_had_is_asked_for_once_more_later() {
    let (host, upstream, right) = wrong(absent);
    let room = upstream.story.room();
    let walk = backfill(&host, &upstream);
    assert!(walk.complete(room, &mut |_| {}).await.unwrap().complete);
    let given_up = host.given_up(room);
    assert_eq!(given_up.values().collect::<Vec<_>>(), [&GivenUp::Unavailable]);
    // Nobody is asked in the meantime, however often somebody scrolls.
    let asked = upstream.count(|_| true);
    assert!(walk.complete(room, &mut |_| {}).await.unwrap().complete);
    assert_eq!(upstream.count(|_| true), asked);
    right.store(true, Ordering::SeqCst);
    host.pass(AGAIN);
    assert!(walk.complete(room, &mut |_| {}).await.unwrap().complete);
    assert_eq!(host.timeline(room), upstream.story.timeline());
    assert!(host.given_up(room).is_empty());
}

#[tokio::test]
async fn the_same_answer_later_ends_the_search() {
    let (host, upstream, _) = wrong(absent);
    let room = upstream.story.room();
    let walk = backfill(&host, &upstream);
    for time in [0, AGAIN] {
        host.pass(time);
        assert!(walk.complete(room, &mut |_| {}).await.unwrap().complete);
    }
    let asked = upstream.count(|_| true);
    host.pass(1000 * AGAIN);
    assert!(host.missing(room).await.unwrap().is_empty());
    assert!(walk.complete(room, &mut |_| {}).await.unwrap().complete);
    assert_eq!(upstream.count(|_| true), asked);
    assert_eq!(host.given_up(room).len(), 1);
}
