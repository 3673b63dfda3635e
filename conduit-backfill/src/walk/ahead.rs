//! The next page, asked for while one is checked and stored.

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::SEEDS;
use crate::{
    client::ClientError,
    pdu::verify::Unverified,
    upstream::{Limited, Upstream},
};

type Answer = Result<Vec<Box<RawValue>>, ClientError>;

/// A request for the page after one, if all of that is stored.
pub(super) struct Ahead<'a> {
    from: BTreeSet<OwnedEventId>,
    /// In a mutex that nobody locks, as a walk is looked at from several threads and a future can't be.
    request: Mutex<Pin<Box<dyn Future<Output = Answer> + Send + 'a>>>,
    answer: Option<Answer>,
}

impl<'a> Ahead<'a> {
    /// `None` if nothing will be left.
    pub(super) fn after(
        upstream: &'a Limited,
        room: &OwnedRoomId,
        limit: u32,
        seeds: &BTreeSet<OwnedEventId>,
        page: &[Unverified],
    ) -> Option<Self> {
        let mut from = seeds.clone();
        from.extend(page.iter().flat_map(Unverified::prev));
        for event in page {
            from.remove(&event.id);
        }
        if from.is_empty() {
            return None;
        }
        let (room, ids) = (room.clone(), from.iter().take(SEEDS).cloned().collect::<Vec<_>>());
        let request: Pin<Box<dyn Future<Output = Answer> + Send + 'a>> =
            Box::pin(async move { upstream.backfill(&room, &ids, limit).await });
        Some(Self { from, request: Mutex::new(request), answer: None })
    }

    pub(super) fn is_from(&self, seeds: &BTreeSet<OwnedEventId>) -> bool {
        self.from == *seeds
    }

    pub(super) async fn answer(self) -> Answer {
        match self.answer {
            Some(answer) => answer,
            None => self.request.into_inner().await,
        }
    }
}

/// Does some work, and lets a request go on meanwhile. Waits for the work only.
pub(super) async fn alongside<T>(
    ahead: &mut Option<Ahead<'_>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Some(ahead) = ahead.as_mut().filter(|ahead| ahead.answer.is_none()) {
            if let Poll::Ready(answer) = ahead.request.get_mut().as_mut().poll(context) {
                ahead.answer = Some(answer);
            }
        }
        work.as_mut().poll(context)
    })
    .await
}
