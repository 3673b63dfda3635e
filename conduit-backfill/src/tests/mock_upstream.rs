//! An upstream that answers as Synapse does, out of a story, or otherwise if it is told to.

use std::{
    collections::{BTreeSet, BinaryHeap},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ruma::{CanonicalJsonValue, EventId, OwnedEventId, RoomId};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Upstream,
    backfill::{Backfill, Options},
    client::{ClientError, RoomState, RoomStateIds, SigningKey},
    testing::memory_host::MemoryHost,
    testing::room_builder::{BuiltEvent, RoomBuilder},
};

/// What the upstream was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Event(OwnedEventId),
    Backfill(Vec<OwnedEventId>),
    StateIds(OwnedEventId),
    State(OwnedEventId),
    EventAuth(OwnedEventId),
}

/// What it answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Pdus(Vec<Box<RawValue>>),
    StateIds(RoomStateIds),
}

impl Answer {
    pub(super) fn pdus(self) -> Vec<Box<RawValue>> {
        match self {
            Self::Pdus(pdus) => pdus,
            Self::StateIds(_) => Vec::new(),
        }
    }

    fn ids(self) -> RoomStateIds {
        match self {
            Self::Pdus(_) => RoomStateIds::default(),
            Self::StateIds(ids) => ids,
        }
    }
}

type Result<T> = std::result::Result<T, ClientError>;

/// Turns true answers into others.
pub(super) type Lie = Box<dyn Fn(&Asked, Answer) -> Result<Answer> + Send + Sync>;

pub(super) struct MockUpstream {
    pub(super) story: RoomBuilder,
    pub(super) asked: Mutex<Vec<Asked>>,
    lie: Option<Lie>,
}

impl MockUpstream {
    pub(super) fn new(story: RoomBuilder) -> Self {
        Self { story, asked: Mutex::default(), lie: None }
    }

    pub(super) fn lying(
        story: RoomBuilder,
        lie: impl Fn(&Asked, Answer) -> Result<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self { story, asked: Mutex::default(), lie: Some(Box::new(lie)) }
    }

    pub(super) fn count(&self, is: impl Fn(&Asked) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| is(asked)).count()
    }

    async fn answer(&self, asked: Asked, answer: Answer) -> Result<Answer> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let answer = match &self.lie {
            Some(lie) => lie(&asked, answer),
            None => Ok(answer),
        };
        self.asked.lock().unwrap().push(asked);
        answer
    }

    fn text(&self, told: &BuiltEvent) -> Box<RawValue> {
        let mut json = self.story.json(told).unwrap();
        json.insert(
            "unsigned".into(),
            CanonicalJsonValue::Object([("age".into(), ruma::int!(5).into())].into()),
        );
        to_raw_value(&json).unwrap()
    }

    fn texts<'a>(&self, ids: impl IntoIterator<Item = &'a OwnedEventId>) -> Vec<Box<RawValue>> {
        ids.into_iter().filter_map(|id| Some(self.text(self.story.get(id)?))).collect()
    }

    fn state(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<(Vec<OwnedEventId>, Vec<OwnedEventId>)> {
        let unknown = || ClientError::RoomNotFound { room: room.to_owned() };
        // A liar has a state for anything.
        let lied = self.lie.as_ref().and(self.story.events().last());
        let told = self.story.get(event).or(lied).filter(|told| told.shown);
        let told = told.ok_or_else(unknown)?;
        let state: Vec<_> = told.state_before.values().cloned().collect();
        let chain = self.story.chain(state.iter().cloned()).into_iter().collect();
        Ok((state, chain))
    }
}

#[async_trait]
impl Upstream for MockUpstream {
    async fn event(&self, event: &EventId) -> Result<Box<RawValue>> {
        let answer = Answer::Pdus(self.texts([&event.to_owned()]));
        let answer = self.answer(Asked::Event(event.to_owned()), answer).await?;
        answer.pdus().pop().ok_or_else(|| ClientError::EventNotFound { event: event.to_owned() })
    }

    async fn backfill(
        &self,
        _: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>> {
        let limit = usize::try_from(limit).unwrap();
        let place = |id: &OwnedEventId| {
            let events = self.story.events();
            let index = events.iter().position(|told| told.pdu.event_id == *id)?;
            Some((events[index].depth, index))
        };
        let mut queue: BinaryHeap<_> = from.iter().filter_map(place).collect();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((_, index)) = queue.pop() {
            let told = &self.story.events()[index];
            if found.len() >= limit || !seen.insert(index) {
                continue;
            }
            found.push(told);
            queue.extend(told.prev().iter().filter_map(place));
        }
        let shown = found.into_iter().filter(|told| told.shown).map(|told| self.text(told));
        let answer = Answer::Pdus(shown.collect());
        Ok(self.answer(Asked::Backfill(from.to_vec()), answer).await?.pdus())
    }

    async fn get_missing_events(
        &self,
        _: &RoomId,
        _: &[OwnedEventId],
        _: &[OwnedEventId],
        _: u32,
        _: u64,
    ) -> Result<Vec<Box<RawValue>>> {
        unreachable!("the walk does without")
    }

    async fn state_ids(&self, room: &RoomId, event: &EventId) -> Result<RoomStateIds> {
        let (pdu_ids, auth_chain_ids) = self.state(room, event)?;
        let answer = Answer::StateIds(RoomStateIds { pdu_ids, auth_chain_ids });
        Ok(self.answer(Asked::StateIds(event.to_owned()), answer).await?.ids())
    }

    async fn state(&self, room: &RoomId, event: &EventId) -> Result<RoomState> {
        let (state, chain) = self.state(room, event)?;
        let answer = Answer::Pdus(self.texts(&state));
        let pdus = self.answer(Asked::State(event.to_owned()), answer).await?.pdus();
        Ok(RoomState { pdus, auth_chain: self.texts(&chain) })
    }

    async fn event_auth(&self, _: &RoomId, event: &EventId) -> Result<Vec<Box<RawValue>>> {
        let chain = self.story.chain(std::iter::once(event.to_owned()));
        let answer = Answer::Pdus(self.texts(&chain));
        Ok(self.answer(Asked::EventAuth(event.to_owned()), answer).await?.pdus())
    }
}

pub(super) fn key() -> SigningKey {
    SigningKey::new("1", &[7; 32]).unwrap()
}

/// A story with some talk in it.
pub(super) fn talk(version: &str, messages: usize) -> RoomBuilder {
    let mut story =
        RoomBuilder::new(version.try_into().unwrap(), "old.example.org", key()).unwrap();
    for number in 0..messages {
        story.say("ada", &format!("message {number}")).unwrap();
    }
    story
}

/// A host that has the newest events of a story, with their state.
pub(super) fn newest(story: &RoomBuilder, count: usize) -> Arc<MemoryHost> {
    let host = MemoryHost::new();
    host.add_room(story.room(), story.version().clone());
    for (server, keys) in story.all_keys() {
        host.add_keys(&server, keys);
    }
    let timeline = story.timeline();
    for id in &timeline[timeline.len().saturating_sub(count)..] {
        host.push(story.room(), story.page_event(id).unwrap()).unwrap();
    }
    Arc::new(host)
}

pub(super) fn backfill(host: &Arc<MemoryHost>, upstream: &Arc<MockUpstream>) -> Backfill {
    Backfill::new(host.clone(), upstream.clone(), Options::default())
}
