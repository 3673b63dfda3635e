//! A room that lives: each turn is one event, drawn by chance and allowed by what the room's state says at that moment.

mod birth;
mod turn;

use std::collections::BTreeMap;

use anyhow::Context as _;
use ruma::{
    UserId,
    events::{StateEventType, TimelineEventType},
    state_res::auth_types_for_event,
};
use serde_json::{Value, json, value::to_raw_value};

pub(super) use self::birth::BIRTH;
use super::{
    START, World,
    event::{Draft, Place, Version, sign},
    random::Random,
};

/// Synapse stores a whole group after so many differences.
const HOPS: usize = 100;
/// Milliseconds from event to event.
const PACE: i64 = 1000;
/// How many of the newest messages others refer to.
const RECENT: usize = 60;

/// A room at a moment of its life.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) number: usize,
    pub(super) version: Version,
    pub(super) id: String,
    pub(super) creator: usize,
    pub(super) traits: Traits,
    random: Random,
    /// Who will come, the next one last.
    planned: Vec<usize>,
    invited: Vec<usize>,
    pub(super) joined: Vec<usize>,
    left: Vec<usize>,
    moderators: Vec<usize>,
    /// The share of turns in which somebody comes.
    arrivals: f64,
    pub(super) state: BTreeMap<(String, String), Current>,
    /// Forward extremities.
    pub(super) tips: Vec<Tip>,
    /// The extremity before the last event, if another event may follow it as well.
    fork_from: Option<Tip>,
    /// Messages that others may refer to, oldest first.
    pub(super) recent: Vec<Message>,
    pub(super) threads: BTreeMap<String, Thread>,
    made: usize,
}

/// What a room is like from its birth on.
#[derive(Debug)]
pub(super) struct Traits {
    pub(super) public: bool,
    encrypted: bool,
    history_visibility: &'static str,
    pub(super) name: String,
    topic: String,
}

/// An entry of the room's present state.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) event_id: String,
    pub(super) stream: i64,
    pub(super) sender: String,
    pub(super) content: Value,
}

/// An event that none follows yet.
#[derive(Clone, Debug)]
pub(super) struct Tip {
    pub(super) event_id: String,
    depth: i64,
    group: i64,
    hops: usize,
    /// The entry of the state that it set, and what was there before.
    set: Option<(String, String)>,
    replaced: Option<String>,
}

/// What later events and receipts refer to.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) event_id: String,
    pub(super) stream: i64,
    pub(super) sender: usize,
    /// Whether people are told of it.
    pub(super) notifies: bool,
    pub(super) thread: Option<String>,
    /// It relates to nothing.
    pub(super) own: bool,
    pub(super) fate: Fate,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Alone,
    /// Something relates to it.
    Related,
    Redacted,
}

/// The newest event of a thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) latest: String,
    pub(super) depth: i64,
    pub(super) stream: i64,
}

/// An event with all that Synapse notes of it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) stream: i64,
    pub(super) room_id: String,
    pub(super) event_id: String,
    pub(super) kind: &'static str,
    pub(super) sender: String,
    pub(super) state_key: Option<String>,
    pub(super) content: Value,
    pub(super) redacts: Option<String>,
    pub(super) device: String,
    pub(super) format: i64,
    pub(super) depth: i64,
    pub(super) ts: i64,
    pub(super) json: String,
    pub(super) prev: Vec<String>,
    pub(super) auth: Vec<String>,
    /// The state group after it.
    pub(super) group: i64,
    pub(super) groups: Vec<Group>,
    /// The event that it replaces in the present state.
    pub(super) replaces: Option<String>,
}

/// A new state group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) previous: Option<i64>,
    /// Type, state key, event id.
    pub(super) entries: Vec<(String, String, String)>,
}

/// An event to be made.
#[derive(Debug)]
struct Plan {
    draft: Draft,
    sender: usize,
    /// On the extremity before the last event.
    fork: bool,
    /// Nothing depends on it that could make two branches disagree.
    simple: bool,
}

impl Room {
    /// Makes the event that takes this place in the stream.
    pub(super) fn next(&mut self, world: &World, stream: i64) -> anyhow::Result<Made> {
        let plan = match self.birth(world) {
            Some(plan) => plan,
            None => self.turn(world),
        };
        self.make(world, stream, plan)
    }

    fn make(&mut self, world: &World, stream: i64, plan: Plan) -> anyhow::Result<Made> {
        let Plan { draft, sender, fork, simple } = plan;
        let mut groups = Vec::new();
        let before = if fork { self.fork_from.clone() } else { self.before(stream, &mut groups) };
        let (auth, prev) = (self.auth(&draft)?, self.prev(fork));
        let depth = 1 + if fork {
            before.as_ref().map_or(0, |tip| tip.depth)
        } else {
            self.tips.iter().map(|tip| tip.depth).max().unwrap_or(0)
        };
        let key = draft.state_key.clone().map(|key| (draft.kind.to_owned(), key));
        let current =
            key.as_ref().and_then(|key| self.state.get(key)).map(|now| now.event_id.clone());
        // On its branch, an entry that the other branch has set is still what it was.
        let replaced = match self.tips.last() {
            Some(tip) if fork && tip.set == key => tip.replaced.clone(),
            _ => current.clone(),
        };
        let mut unsigned = json!({});
        if let Some(replaced) = &replaced {
            unsigned["replaces_state"] = replaced.as_str().into();
        }
        if draft.content["membership"] == "invite" {
            unsigned["invite_room_state"] = self.stripped();
        }
        let ts = START + stream * PACE;
        let place = Place {
            room_id: &self.id,
            prev: prev.iter().map(String::as_str).collect(),
            auth: auth.iter().map(String::as_str).collect(),
            depth,
            ts,
        };
        let (event_id, json) = sign(&world.server, &self.version, &draft, &place, unsigned)?;
        if self.id.is_empty() {
            self.id = event_id.replacen('$', "!", 1);
        }
        if let Some(key) = &key {
            let current = Current {
                event_id: event_id.clone(),
                stream,
                sender: draft.sender.clone(),
                content: draft.content.clone(),
            };
            self.state.insert(key.clone(), current);
        }
        let mut tip = self.after(stream, &event_id, depth, before, key, fork, &mut groups);
        tip.replaced = replaced;
        let group = tip.group;
        self.remember(&draft, &tip, sender, stream);
        self.fork_from =
            (simple && !fork && self.tips.len() == 1).then(|| self.tips.pop()).flatten();
        if !fork {
            self.tips.clear();
        }
        self.tips.push(tip);
        self.made += 1;
        let device = world.people[sender].devices.first().context("everybody has a device")?;
        Ok(Made {
            stream,
            room_id: self.id.clone(),
            event_id,
            kind: draft.kind,
            sender: draft.sender,
            state_key: draft.state_key,
            content: draft.content,
            redacts: draft.redacts,
            device: device.id.clone(),
            format: self.version.format,
            depth,
            ts,
            json,
            prev,
            auth,
            group,
            groups,
            replaces: current,
        })
    }

    /// What the next event follows: the only extremity, or all of them. Their states differ in entries that the later
    /// one wins, as all of them were allowed by the same state. If none of their groups is the result, it gets a new one.
    fn before(&self, stream: i64, groups: &mut Vec<Group>) -> Option<Tip> {
        let [first, second] = self.tips.as_slice() else { return self.tips.last().cloned() };
        match (&first.set, &second.set) {
            (_, None) => Some(first.clone()),
            (None, Some(_)) => Some(second.clone()),
            (Some(one), Some(other)) if one == other => Some(second.clone()),
            (Some(_), Some(key)) => {
                let id = 2 * stream;
                let entry = (key.0.clone(), key.1.clone(), second.event_id.clone());
                groups.push(Group { id, previous: Some(first.group), entries: vec![entry] });
                Some(Tip { group: id, hops: first.hops + 1, ..first.clone() })
            }
        }
    }

    /// The event as an extremity, and its new state group if it changes the state.
    #[expect(clippy::too_many_arguments, reason = "what `make` has gathered")]
    fn after(
        &self,
        stream: i64,
        event_id: &str,
        depth: i64,
        before: Option<Tip>,
        key: Option<(String, String)>,
        fork: bool,
        groups: &mut Vec<Group>,
    ) -> Tip {
        let (mut previous, mut hops) = before.map_or((None, 0), |tip| (Some(tip.group), tip.hops));
        let Some(set) = key else {
            let group = previous.unwrap_or_default();
            return Tip {
                event_id: event_id.to_owned(),
                depth,
                group,
                hops,
                set: None,
                replaced: None,
            };
        };
        let id = 2 * stream + 1;
        if previous.is_none() {
            // Before the first event, the state is empty.
            groups.push(Group { id: 2 * stream, previous: None, entries: Vec::new() });
            previous = Some(2 * stream);
        }
        hops += 1;
        let mut entries = vec![(set.0.clone(), set.1.clone(), event_id.to_owned())];
        if hops >= HOPS && !fork {
            (previous, hops) = (None, 0);
            entries = self
                .state
                .iter()
                .map(|((kind, key), current)| (kind.clone(), key.clone(), current.event_id.clone()))
                .collect();
        }
        groups.push(Group { id, previous, entries });
        Tip {
            event_id: event_id.to_owned(),
            depth,
            group: id,
            hops,
            set: Some(set),
            replaced: None,
        }
    }

    fn prev(&self, fork: bool) -> Vec<String> {
        let tips = if fork { self.fork_from.as_slice() } else { self.tips.as_slice() };
        tips.iter().map(|tip| tip.event_id.clone()).collect()
    }

    fn auth(&self, draft: &Draft) -> anyhow::Result<Vec<String>> {
        let types = auth_types_for_event(
            &TimelineEventType::from(draft.kind),
            <&UserId>::try_from(&*draft.sender)?,
            draft.state_key.as_deref(),
            &to_raw_value(&draft.content)?,
            &self.version.rules.authorization,
        )
        .map_err(anyhow::Error::msg)?;
        let find = |(kind, key): (StateEventType, String)| {
            Some(self.state.get(&(kind.to_string(), key))?.event_id.clone())
        };
        Ok(types.into_iter().filter_map(find).collect())
    }

    /// What an invited user is told of the room.
    fn stripped(&self) -> Value {
        let kinds = ["m.room.create", "m.room.join_rules", "m.room.name", "m.room.encryption"];
        let entry = |kind: &str| {
            let current = self.state.get(&(kind.to_owned(), String::new()))?;
            Some(
                json!({"type": kind, "state_key": "", "sender": current.sender, "content": current.content}),
            )
        };
        kinds.into_iter().filter_map(entry).collect()
    }

    fn remember(&mut self, draft: &Draft, tip: &Tip, sender: usize, stream: i64) {
        let relation = &draft.content["m.relates_to"];
        let target = relation["event_id"].as_str().map(ToOwned::to_owned);
        let is = |kind: &str| relation["rel_type"] == kind;
        let thread = target.clone().filter(|_| is("m.thread"));
        if let Some(root) = &thread {
            let latest = tip.event_id.clone();
            self.threads.insert(root.clone(), Thread { latest, depth: tip.depth, stream });
        }
        for message in &mut self.recent {
            let id = Some(&message.event_id);
            if id == draft.redacts.as_ref() {
                message.fate = Fate::Redacted;
            } else if message.fate == Fate::Alone && id == target.as_ref() {
                message.fate = Fate::Related;
            }
        }
        if draft.state_key.is_none() {
            let told = ["m.room.message", "m.room.encrypted"].contains(&draft.kind);
            self.recent.push(Message {
                event_id: tip.event_id.clone(),
                stream,
                sender,
                notifies: told && !is("m.replace"),
                own: told && relation.is_null(),
                fate: Fate::Alone,
                thread,
            });
            if self.recent.len() > RECENT {
                self.recent.remove(0);
            }
        }
    }
}
