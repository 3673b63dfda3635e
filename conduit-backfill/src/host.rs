//! What the library needs of the homeserver that wants its past back.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
};

use async_trait::async_trait;
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedServerSigningKeyId, RoomId, RoomVersionId,
    ServerName,
};

/// Event type and state key.
pub type StateKey = (String, String);

/// A room's state: the event at each state key.
pub type StateMap = BTreeMap<StateKey, OwnedEventId>;

/// Why a host could not do what it was asked; the library passes it on and looks into none of it.
pub type HostError = Box<dyn Error + Send + Sync>;

/// An event whose format, size, id, hashes and signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// Its id.
    pub event_id: OwnedEventId,
    /// The event in the federation format of its room version, with hashes and signatures; without `unsigned` and
    /// without `event_id`. In redacted form if its content is not what it was signed with.
    pub json: CanonicalJsonObject,
}

/// Where a host has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its room's timeline.
    Timeline,
    /// Outside of it: as part of a state or an auth chain.
    Outlier,
    /// Nowhere.
    Unknown,
}

/// The state before an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateBefore {
    /// There is none: the event is its room's create event.
    Nothing,
    /// The state before another event, with these changes. That event is in the host's timeline, or stands earlier in
    /// the same page.
    Changed {
        /// The other event.
        from: OwnedEventId,
        /// Entries that are added or replaced.
        set: StateMap,
        /// Entries that are removed.
        unset: BTreeSet<StateKey>,
    },
    /// This one.
    Whole(StateMap),
}

/// An event of a [`Page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEvent {
    /// The event.
    pub pdu: Pdu,
    /// The state before it. Each event that it names is in the page, or has been given to [`Host::add_outliers`], or was
    /// there before.
    pub state_before: StateBefore,
    /// The redaction of this event; its JSON then is the redacted form.
    pub redacted_by: Option<OwnedEventId>,
}

/// Events that lie before a room's timeline, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The events, none of which is in the timeline.
    pub events: Vec<PageEvent>,
}

/// Why an event that others name as the one before them is not in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GivenUp {
    /// The old homeserver doesn't have it, or doesn't give it.
    Unavailable,
    /// It is not what its id, hashes or signatures say, or the auth rules forbid it.
    Invalid,
    /// The old homeserver has it, but showed it to nobody (soft failure, rejection).
    Withheld,
}

/// A public key of a server, with the last moment at which it was valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyKey {
    /// Such as `ed25519:a_AbCd`.
    pub key_id: OwnedServerSigningKeyId,
    /// 32 bytes.
    pub key: Vec<u8>,
    /// Milliseconds since the Unix epoch: `valid_until_ts`, or `expired_ts` of an old key.
    pub valid_until_ts: u64,
}

/// A homeserver, as far as its past is concerned.
///
/// The timeline of a room is an order of events; the library adds to its beginning only. Every method may be called for
/// several rooms at the same time, and [`Host::prepend`] for one room never at the same time as itself.
///
/// Each sentence of these methods' documentation is tested by `testing::host_contract`.
#[async_trait]
pub trait Host: Send + Sync {
    /// The version of a room; `None` for a room that the host isn't in.
    async fn room_version(&self, room: &RoomId) -> Result<Option<RoomVersionId>, HostError>;

    /// The first event of the room's timeline; `None` if there is none.
    async fn first(&self, room: &RoomId) -> Result<Option<OwnedEventId>, HostError>;

    /// All events that events of the room's timeline, or events given up as [`GivenUp::Withheld`], name as `prev_events`,
    /// that are neither in the timeline nor given up; of the latter, those that are to be asked for again.
    async fn missing(&self, room: &RoomId) -> Result<BTreeSet<OwnedEventId>, HostError>;

    /// Where the host has an event of the room. An event of another room is unknown.
    async fn place(&self, room: &RoomId, event: &EventId) -> Result<Place, HostError>;

    /// An event of the room, from the timeline or an outlier, with or without `event_id` and `unsigned`.
    async fn event(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HostError>;

    /// The state before an event of the room's timeline, whole. Empty for the create event, `None` if it isn't known.
    async fn state_before(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<StateMap>, HostError>;

    /// The events of the room's timeline that want to redact another one, the newest first, whoever sent them: whether one has
    /// an effect is not the host's business. Asked for each event before it is given to [`Host::prepend`], so it is answered
    /// from an index, not by reading the timeline.
    async fn redactions_of(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<OwnedEventId>, HostError>;

    /// The keys of a server that the host knows or can get, also those that have expired; its own server's as well.
    async fn verify_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, HostError>;

    /// Stores events outside of the timeline. One that is there already stays as it is. No user is shown one, whoever asks for
    /// it by its id: nothing says who may see it. Other servers in the room may have it.
    async fn add_outliers(&self, room: &RoomId, events: Vec<Pdu>) -> Result<(), HostError>;

    /// Puts a page before all events of the room's timeline, in its order, with the state before each event. Afterwards
    /// the events are like any other: they have relations, threads, words in the search index. Nobody is notified of
    /// them, nothing is counted as unread, nothing is sent to other servers. Events that were outliers are no longer.
    ///
    /// If it fails, or is dropped, or the process dies, some of the newest events of the page may be there, each with
    /// its state, and none of the others; the next walk starts from them.
    async fn prepend(&self, room: &RoomId, page: Page) -> Result<(), HostError>;

    /// Remembers, beyond a restart, that an event is not to be had. [`Self::missing`] no longer names it, but for once more
    /// after [`AGAIN`](crate::verdict::AGAIN): [`Verdict`](crate::verdict::Verdict) is what a host stores. Of a withheld
    /// event, which has been given to [`Self::add_outliers`], it names the `prev_events` instead.
    async fn give_up(
        &self,
        room: &RoomId,
        event: &EventId,
        reason: GivenUp,
    ) -> Result<(), HostError>;
}
