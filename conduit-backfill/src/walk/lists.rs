//! Lists of states, asked for some at a time: a page of a room in which many speak at once begins with many events of which none
//! follows another one in the page.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use ruma::{EventId, OwnedEventId, RoomId};

use crate::{
    client::{ClientError, RoomStateIds},
    upstream::{Limited, Upstream},
};

/// Lists that are asked for and kept at the same time; each is as long as the room has members.
const AT_ONCE: usize = 4;

type Answer = Result<RoomStateIds, ClientError>;

struct Asked<'a> {
    request: Pin<Box<dyn Future<Output = Answer> + Send + 'a>>,
    answer: Option<Answer>,
}

/// The states before the events of a page that need a list.
pub(super) struct Lists<'a> {
    upstream: &'a Limited,
    room: &'a RoomId,
    /// Events whose lists will be needed, in this order.
    needed: VecDeque<OwnedEventId>,
    answers: VecDeque<(OwnedEventId, Answer)>,
}

impl<'a> Lists<'a> {
    pub(super) fn new(
        upstream: &'a Limited,
        room: &'a RoomId,
        needed: VecDeque<OwnedEventId>,
    ) -> Self {
        Self { upstream, room, needed, answers: VecDeque::new() }
    }

    /// The list for an event. All requests have ended when it is there, so that none waits for a turn while nobody looks after it.
    pub(super) async fn before(&mut self, event: &EventId) -> Answer {
        if self.answers.is_empty() && self.needed.front().is_some_and(|first| first == event) {
            let number = AT_ONCE.min(self.needed.len());
            let events = self.needed.drain(..number).collect();
            self.answers = self.ask(events).await;
        }
        if self.answers.front().is_some_and(|(first, _)| first == event) {
            if let Some((_, answer)) = self.answers.pop_front() {
                return answer;
            }
        }
        self.upstream.state_ids(self.room, event).await
    }

    async fn ask(&self, events: Vec<OwnedEventId>) -> VecDeque<(OwnedEventId, Answer)> {
        let mut asked: Vec<Asked<'_>> = Vec::with_capacity(events.len());
        for event in &events {
            let request = self.upstream.state_ids(self.room, event);
            asked.push(Asked { request, answer: None });
        }
        poll_fn(|context| {
            let mut waits = false;
            for asked in &mut asked {
                if asked.answer.is_none() {
                    match asked.request.as_mut().poll(context) {
                        Poll::Ready(answer) => asked.answer = Some(answer),
                        Poll::Pending => waits = true,
                    }
                }
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let answers: Vec<_> = asked.into_iter().filter_map(|asked| asked.answer).collect();
        events.into_iter().zip(answers).collect()
    }
}
