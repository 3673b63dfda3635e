//! What each sentence of [`Host`]'s documentation means, as checks that every implementation runs.
//!
//! An implementation gives a [`Factory`], and calls [`check`]; the functions are public for those who want a test for each.
//! What can't be seen through [`Host`], such as that nobody is notified, each implementation tests itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use async_trait::async_trait;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, OwnedServerName,
    RoomId, RoomVersionId, owned_event_id, room_id, server_name,
};
use serde_json::json;

use crate::{
    client::SigningKey,
    host::{
        GivenUp, Host, HostError, Page, PageEvent, Pdu, Place, StateBefore, StateMap, VerifyKey,
    },
    testing::room_builder::{BuildError, BuiltEvent, RoomBuilder},
};

/// With what a host begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Its rooms.
    pub rooms: Vec<StartRoom>,
    /// The keys that it knows.
    pub keys: BTreeMap<OwnedServerName, Vec<VerifyKey>>,
}

/// A room with which a host begins.
#[derive(Clone, Debug)]
pub struct StartRoom {
    /// Its id.
    pub room: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// All other events that states and auth chains of the timeline name.
    pub outliers: Vec<Pdu>,
    /// Its timeline, oldest first; states are whole, or nothing for the create event.
    pub timeline: Vec<PageEvent>,
}

/// Makes hosts of one kind.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A host that has this and nothing else.
    async fn open(&self, start: Start) -> Result<Arc<dyn Host>, HostError>;

    /// The same host after a restart: with what it has stored, without what it has in memory.
    async fn reopen(&self, host: Arc<dyn Host>) -> Result<Arc<dyn Host>, HostError>;

    /// A room's timeline, oldest first, as its clients see it.
    async fn timeline(
        &self,
        host: &Arc<dyn Host>,
        room: &RoomId,
    ) -> Result<Vec<OwnedEventId>, HostError>;

    /// Whether users of the host can be shown an event of a room that they ask for by its id, if only those who were in the room
    /// from its beginning to its end.
    async fn is_shown(
        &self,
        host: &Arc<dyn Host>,
        room: &RoomId,
        event: &EventId,
    ) -> Result<bool, HostError>;
}

/// A sentence that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

impl From<HostError> for Broken {
    fn from(error: HostError) -> Self {
        Self(format!("the host failed: {error}"))
    }
}

impl From<BuildError> for Broken {
    fn from(error: BuildError) -> Self {
        Self(error.to_string())
    }
}

type Outcome = Result<(), Broken>;

/// Checks all.
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn check(factory: &dyn Factory) -> Outcome {
    rooms(factory).await?;
    places(factory).await?;
    missing(factory).await?;
    states(factory).await?;
    redactions(factory).await?;
    keys(factory).await?;
    outliers(factory).await?;
    prepend(factory).await?;
    prepend_of_nonsense(factory).await?;
    give_up(factory).await?;
    several_rooms(factory).await
}

/// A story of which a host has the newest events.
struct Scene {
    story: RoomBuilder,
    host: Arc<dyn Host>,
    /// All events, oldest first.
    all: Vec<OwnedEventId>,
}

/// Events that the host has.
const HAD: usize = 4;

impl Scene {
    async fn open(factory: &dyn Factory) -> Result<Self, Broken> {
        let story = story("10")?;
        let start = Start { rooms: vec![begun(&story)?], keys: story.all_keys() };
        let all = story.timeline();
        Ok(Self { host: factory.open(start).await?, story, all })
    }

    fn room(&self) -> &RoomId {
        self.story.room()
    }

    /// The events that the host has in the timeline.
    fn had(&self) -> &[OwnedEventId] {
        self.all.get(self.all.len().saturating_sub(HAD)..).unwrap_or_default()
    }

    /// Those before.
    fn older(&self) -> &[OwnedEventId] {
        self.all.get(..self.all.len().saturating_sub(HAD)).unwrap_or_default()
    }

    /// The newest `count` events of those before, with their states in all the forms that there are.
    fn page(&self, count: usize) -> Result<Page, Broken> {
        let older = self.older();
        let ids = older.get(older.len().saturating_sub(count)..).unwrap_or_default();
        let mut events: Vec<PageEvent> = Vec::new();
        for id in ids {
            let mut event = self.story.page_event(id)?;
            let state = self.state(id);
            // In turn: whole, as changes of one that is there, as changes of one in the page.
            let from = match events.len() % 3 {
                1 => self.had().first(),
                2 => events.last().map(|event| &event.pdu.event_id),
                _ => None,
            };
            if let (Some(from), false) = (from, state.is_empty()) {
                event.state_before = changed(from, &self.state(from), &state);
            }
            events.push(event);
        }
        Ok(Page { events })
    }

    fn state(&self, id: &EventId) -> StateMap {
        self.story.get(id).map(|told| told.state_before.clone()).unwrap_or_default()
    }

    fn pdu(&self, id: &EventId) -> Result<Pdu, Broken> {
        Ok(self.story.page_event(id)?.pdu)
    }
}

fn story(version: &str) -> Result<RoomBuilder, Broken> {
    let version = version.try_into().map_err(|_| Broken("unknown version".into()))?;
    let key = SigningKey::new("1", &[7; 32]).map_err(|error| Broken(error.to_string()))?;
    let mut story = RoomBuilder::new(version, "old.example.org", key)?;
    story.member("ben", "ben", "join")?;
    let first = story.say("ben", "first")?;
    story.state("ada", "m.room.name", "", json!({"name": "Room"}))?;
    story.redact("ada", &first)?;
    story.member("ben", "ben", "leave")?;
    for number in 0..6 {
        story.say("ada", &format!("message {number}"))?;
    }
    Ok(story)
}

/// The newest events of a story in a timeline, and what their states name outside of it.
fn begun(story: &RoomBuilder) -> Result<StartRoom, Broken> {
    let all = story.timeline();
    let newest = all.get(all.len().saturating_sub(HAD)..).unwrap_or_default();
    let timeline: Vec<_> =
        newest.iter().map(|id| story.page_event(id)).collect::<Result<_, _>>()?;
    let states = newest.iter().filter_map(|id| story.get(id));
    let mut named: BTreeSet<_> =
        states.flat_map(|told| told.state_before.values().cloned()).collect();
    named.extend(story.chain(named.clone().into_iter()));
    let outliers = named.iter().filter(|id| !newest.contains(id)).map(|id| story.page_event(id));
    let outliers = outliers.map(|event| event.map(|event| event.pdu)).collect::<Result<_, _>>()?;
    Ok(StartRoom {
        room: story.room().to_owned(),
        version: story.version().clone(),
        outliers,
        timeline,
    })
}

fn changed(from: &EventId, earlier: &StateMap, state: &StateMap) -> StateBefore {
    let set = state.iter().filter(|(key, id)| earlier.get(*key) != Some(*id));
    let unset = earlier.keys().filter(|key| !state.contains_key(*key));
    StateBefore::Changed {
        from: from.to_owned(),
        set: set.map(|(key, id)| (key.clone(), id.clone())).collect(),
        unset: unset.cloned().collect(),
    }
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Broken(format!("{what}: found {found:?}, expected {expected:?}")))
}

/// An event without what a host may add.
fn bare(json: Option<CanonicalJsonObject>) -> Option<CanonicalJsonObject> {
    json.map(|mut json| {
        json.remove("event_id");
        json.remove("unsigned");
        json
    })
}

fn unknown_room() -> &'static RoomId {
    room_id!("!unknown:old.example.org")
}

/// [`Host::room_version`] and [`Host::first`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn rooms(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let (host, room) = (&scene.host, scene.room());
    same("a room's version", &host.room_version(room).await?, &Some(RoomVersionId::V10))?;
    same("an unknown room's version", &host.room_version(unknown_room()).await?, &None)?;
    same("a room's first event", &host.first(room).await?, &scene.had().first().cloned())?;
    same("an unknown room's first event", &host.first(unknown_room()).await?, &None)?;
    let timeline = factory.timeline(host, room).await?;
    same("a room's timeline", &timeline, &scene.had().to_vec())
}

/// [`Host::place`] and [`Host::event`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn places(factory: &dyn Factory) -> Outcome {
    let [story, other] = [story("10")?, story("12")?];
    let start = Start { rooms: vec![begun(&story)?, begun(&other)?], keys: story.all_keys() };
    let outlier = start.rooms.first().and_then(|room| room.outliers.first()).cloned();
    let outlier = outlier.ok_or_else(|| Broken("the story has no outliers".into()))?;
    let host = factory.open(start).await?;
    let all = story.timeline();
    let (Some(oldest_hidden), Some(newest)) =
        (all.get(all.len().saturating_sub(HAD + 1)), all.last())
    else {
        return Err(Broken("the story is too short".into()));
    };
    let elsewhere = other.timeline().last().cloned().unwrap_or_else(|| owned_event_id!("$none"));
    let cases = [
        ("an event of the timeline", newest, Place::Timeline),
        ("an outlier", &outlier.event_id, Place::Outlier),
        ("an older event", oldest_hidden, Place::Unknown),
        ("an event of another room", &elsewhere, Place::Unknown),
    ];
    for (what, id, place) in cases {
        same(&format!("the place of {what}"), &host.place(story.room(), id).await?, &place)?;
        let expected = match place {
            Place::Unknown => None,
            Place::Timeline | Place::Outlier => Some(story.page_event(id)?.pdu.json),
        };
        same(what, &bare(host.event(story.room(), id).await?), &expected)?;
    }
    Ok(())
}

/// [`Host::missing`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn missing(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let (host, room) = (&scene.host, scene.room());
    let expected: BTreeSet<_> = scene.older().last().cloned().into_iter().collect();
    same("what is missing", &host.missing(room).await?, &expected)?;
    let none = BTreeSet::new();
    same("what is missing of an unknown room", &host.missing(unknown_room()).await?, &none)?;
    host.prepend(room, scene.page(usize::MAX)?).await?;
    same("what is missing of a whole room", &host.missing(room).await?, &none)
}

/// [`Host::state_before`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn states(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let (host, room) = (&scene.host, scene.room());
    for id in scene.had() {
        same("a state", &host.state_before(room, id).await?, &Some(scene.state(id)))?;
    }
    for id in scene.older() {
        same("the state before an unknown event", &host.state_before(room, id).await?, &None)?;
    }
    host.prepend(room, scene.page(usize::MAX)?).await?;
    let host = &factory.reopen(scene.host.clone()).await?;
    for id in &scene.all {
        same("a state", &host.state_before(room, id).await?, &Some(scene.state(id)))?;
    }
    Ok(())
}

/// [`Host::redactions_of`]. Redactions count whoever sent them, and whatever has become of his power since: `@ben` has none any
/// more, `@cleo` never had.
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn redactions(factory: &dyn Factory) -> Outcome {
    let mut story = story("10")?;
    let old = story.timeline().get(2).cloned().ok_or_else(|| Broken("too short".into()))?;
    let powers = |story: &RoomBuilder, power: u8| json!({"users": {story.user("ada"): 100, story.user("ben"): power}});
    story.member("ben", "ben", "join")?;
    story.member("cleo", "cleo", "join")?;
    let given = powers(&story, 50);
    story.state("ada", "m.room.power_levels", "", given)?;
    let first = story.redact("ben", &old)?;
    let taken = powers(&story, 0);
    story.state("ada", "m.room.power_levels", "", taken)?;
    let second = story.redact("cleo", &old)?;
    story.say("ada", "after")?;
    let start = Start { rooms: vec![begun(&story)?], keys: story.all_keys() };
    let host = factory.open(start).await?;
    let room = story.room();
    let newest_first = vec![second, first.clone()];
    same("redactions", &host.redactions_of(room, &old).await?, &newest_first)?;
    same("the redactions of none", &host.redactions_of(room, &first).await?, &Vec::new())?;
    let host = factory.reopen(host).await?;
    same("redactions elsewhere", &host.redactions_of(unknown_room(), &old).await?, &Vec::new())?;
    same("redactions after a restart", &host.redactions_of(room, &old).await?, &newest_first)
}

/// [`Host::verify_keys`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn keys(factory: &dyn Factory) -> Outcome {
    let story = story("10")?;
    let mut keys = story.all_keys();
    let expired = keys.get(story.server()).and_then(|keys| keys.first()).cloned();
    let expired = expired.map(|key| VerifyKey { valid_until_ts: 1, ..key });
    keys.insert(server_name!("gone.example.org").to_owned(), expired.into_iter().collect());
    let start = Start { rooms: vec![begun(&story)?], keys: keys.clone() };
    let host = factory.open(start).await?;
    for (server, expected) in keys {
        same(&format!("the keys of {server}"), &host.verify_keys(&server).await?, &expected)?;
    }
    Ok(())
}

/// [`Host::add_outliers`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn outliers(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let room = scene.room();
    let id = scene.older().get(6).cloned().ok_or_else(|| Broken("too short".into()))?;
    let pdu = scene.pdu(&id)?;
    let mut other = pdu.clone();
    other.json.insert("depth".to_owned(), CanonicalJsonValue::from(ruma::int!(77)));
    let had = scene.had().first().cloned().ok_or_else(|| Broken("too short".into()))?;
    let mut shown = scene.pdu(&had)?;
    shown.json.insert("depth".to_owned(), CanonicalJsonValue::from(ruma::int!(77)));
    scene.host.add_outliers(room, vec![pdu.clone()]).await?;
    scene.host.add_outliers(room, vec![other, shown]).await?;
    scene.host.add_outliers(room, Vec::new()).await?;
    let host = factory.reopen(scene.host.clone()).await?;
    same("the place of an outlier", &host.place(room, &id).await?, &Place::Outlier)?;
    same("an outlier that comes again", &bare(host.event(room, &id).await?), &Some(pdu.json))?;
    same("the place of a shown event", &host.place(room, &had).await?, &Place::Timeline)?;
    let expected = scene.pdu(&had)?.json;
    same("a shown event that comes again", &bare(host.event(room, &had).await?), &Some(expected))?;
    same("whether an outlier is shown", &factory.is_shown(&host, room, &id).await?, &false)?;
    same("whether an event is shown", &factory.is_shown(&host, room, &had).await?, &true)?;
    let timeline = factory.timeline(&host, room).await?;
    same("the timeline beside outliers", &timeline, &scene.had().to_vec())?;
    let expected: BTreeSet<_> = scene.older().last().cloned().into_iter().collect();
    same("what is missing beside outliers", &host.missing(room).await?, &expected)
}

/// [`Host::prepend`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn prepend(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let room = scene.room();
    let outlier = scene.older().last().cloned().ok_or_else(|| Broken("too short".into()))?;
    scene.host.add_outliers(room, vec![scene.pdu(&outlier)?]).await?;
    scene.host.prepend(room, Page::default()).await?;
    let mut count = 0_usize;
    for size in [1, 3, usize::MAX] {
        let page = scene.page(count.saturating_add(size))?;
        let new = page.events.len().saturating_sub(count);
        let page = Page { events: page.events.into_iter().take(new).collect() };
        scene.host.prepend(room, page).await?;
        count = count.saturating_add(new);
        let start = scene.all.len().saturating_sub(HAD).saturating_sub(count);
        let expected = scene.all.get(start..).unwrap_or_default().to_vec();
        same("the timeline", &factory.timeline(&scene.host, room).await?, &expected)?;
        same("the first event", &scene.host.first(room).await?, &expected.first().cloned())?;
    }
    let host = factory.reopen(scene.host.clone()).await?;
    same("the timeline", &factory.timeline(&host, room).await?, &scene.all)?;
    for id in &scene.all {
        same("the place of an event", &host.place(room, id).await?, &Place::Timeline)?;
        same("whether an event is shown", &factory.is_shown(&host, room, id).await?, &true)?;
        let expected = Some(scene.pdu(id)?.json);
        same("an event", &bare(host.event(room, id).await?), &expected)?;
        same("a state", &host.state_before(room, id).await?, &Some(scene.state(id)))?;
    }
    Ok(())
}

/// [`Host::prepend`] of a page whose states can't be: it fails, and the timeline has no event without its state.
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn prepend_of_nonsense(factory: &dyn Factory) -> Outcome {
    let scene = Scene::open(factory).await?;
    let room = scene.room();
    let mut page = scene.page(4)?;
    if let Some(event) = page.events.get_mut(1) {
        let from = owned_event_id!("$nobody");
        let (set, unset) = (StateMap::new(), BTreeSet::new());
        event.state_before = StateBefore::Changed { from, set, unset };
    }
    if scene.host.prepend(room, page).await.is_ok() {
        return Err(Broken("a state that is said by an unknown one was taken".into()));
    }
    let timeline = factory.timeline(&scene.host, room).await?;
    if !scene.all.ends_with(&timeline) || timeline.len() < HAD || timeline.len() > HAD + 2 {
        return Err(Broken(format!("a page was stored with a hole: {timeline:?}")));
    }
    for id in &timeline {
        let state = scene.host.state_before(room, id).await?;
        same("a state", &state, &Some(scene.state(id)))?;
    }
    Ok(())
}

/// [`Host::give_up`].
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn give_up(factory: &dyn Factory) -> Outcome {
    for reason in [GivenUp::Unavailable, GivenUp::Invalid, GivenUp::Withheld] {
        let scene = Scene::open(factory).await?;
        let room = scene.room();
        let id = scene.older().last().cloned().ok_or_else(|| Broken("too short".into()))?;
        let mut expected = BTreeSet::new();
        if reason == GivenUp::Withheld {
            scene.host.add_outliers(room, vec![scene.pdu(&id)?]).await?;
            expected.extend(scene.story.get(&id).into_iter().flat_map(BuiltEvent::prev).cloned());
        }
        scene.host.give_up(room, &id, reason).await?;
        let what = format!("what is missing after {reason:?}");
        same(&what, &scene.host.missing(room).await?, &expected)?;
        let host = factory.reopen(scene.host.clone()).await?;
        same(&what, &host.missing(room).await?, &expected)?;
        let timeline = factory.timeline(&host, room).await?;
        same("the timeline", &timeline, &scene.had().to_vec())?;
        let page = scene.page(3)?;
        let page = Page { events: page.events.into_iter().take(2).collect() };
        if reason == GivenUp::Withheld {
            host.prepend(room, page).await?;
            let oldest = scene.older().get(scene.older().len().saturating_sub(4)).cloned();
            let expected: BTreeSet<_> = oldest.into_iter().collect();
            same("what is missing beyond it", &host.missing(room).await?, &expected)?;
        }
    }
    Ok(())
}

/// Two rooms at the same time.
///
/// # Errors
///
/// The first sentence that does not hold.
pub async fn several_rooms(factory: &dyn Factory) -> Outcome {
    let stories = [story("10")?, story("12")?];
    let start = Start {
        rooms: stories.iter().map(begun).collect::<Result<_, _>>()?,
        keys: BTreeMap::new(),
    };
    let host = factory.open(start).await?;
    let page = |story: &RoomBuilder| -> Result<Page, Broken> {
        let all = story.timeline();
        let older = all.get(..all.len().saturating_sub(HAD)).unwrap_or_default();
        let events = older.iter().map(|id| story.page_event(id)).collect::<Result<_, _>>()?;
        Ok(Page { events })
    };
    let [one, other] = &stories;
    let (first, second) = tokio::join!(
        host.prepend(one.room(), page(one)?),
        host.prepend(other.room(), page(other)?)
    );
    first?;
    second?;
    for story in &stories {
        let timeline = factory.timeline(&host, story.room()).await?;
        same("a timeline beside another", &timeline, &story.timeline())?;
    }
    Ok(())
}
