//! How a room begins: the events that Synapse makes when a client creates one.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Plan, Room, Traits};
use crate::generate::{
    World,
    event::{Draft, Version},
    random::Random,
};

/// How many events a room begins with.
pub(in crate::generate) const BIRTH: usize = 9;

/// The kinds of a new room's events; `org.example.board` is of a client that nobody knows.
const EVENTS: [&str; BIRTH] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.encryption",
];

impl Room {
    /// A room without events. `size`: how many members it will have; `turns`: how many events, about.
    pub(in crate::generate) fn new(
        world: &World,
        number: usize,
        size: usize,
        turns: f64,
    ) -> anyhow::Result<Self> {
        let mut random = Random::new(world.shape.seed, "room", number);
        let version = Version::new(random.word(&Version::COMMON))?;
        let id = if version.created_is_id() {
            String::new()
        } else {
            format!("!{}:{}", random.letters(18), world.server.name)
        };
        let mut planned = Vec::with_capacity(size);
        let mut taken = vec![false; world.people.len()];
        while planned.len() < size.min(world.people.len()) {
            // Some people are in many rooms.
            let person = if random.chance(0.5) {
                random.low(world.people.len())
            } else {
                random.below(world.people.len())
            };
            if !std::mem::replace(&mut taken[person], true) {
                planned.push(person);
            }
        }
        let creator = planned.pop().unwrap_or(0);
        let public = size > 2 && random.chance(0.5);
        let visibilities = ["shared", "shared", "joined", "invited", "world_readable"];
        let traits = Traits {
            public,
            encrypted: !public && random.chance(0.3),
            history_visibility: random.word(&visibilities),
            name: world.words.sentence(&mut random, 3),
            topic: world.words.sentence(&mut random, 8),
        };
        // Most have come when two thirds of the room's time have passed; those who are invited take two events.
        let events = planned.len() as f64 * if public { 1.0 } else { 2.0 };
        Ok(Self {
            number,
            version,
            id,
            creator,
            traits,
            random,
            planned,
            invited: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
            moderators: Vec::new(),
            arrivals: (events * 1.5 / turns).min(0.7),
            state: BTreeMap::new(),
            tips: Vec::new(),
            fork_from: None,
            recent: Vec::new(),
            threads: BTreeMap::new(),
            made: 0,
        })
    }

    /// The next of the first events, if there is one left.
    pub(super) fn birth(&mut self, world: &World) -> Option<Plan> {
        let mut kind = *EVENTS.get(self.made)?;
        let creator = &world.people[self.creator];
        let mut state_key = String::new();
        let content = match kind {
            "m.room.create" => {
                let mut content = json!({"room_version": self.version.name});
                if !self.version.rules.authorization.use_room_create_sender {
                    content["creator"] = creator.id.as_str().into();
                }
                content
            }
            "m.room.member" => {
                state_key.clone_from(&creator.id);
                self.joined.push(self.creator);
                creator.membership("join")
            }
            "m.room.power_levels" => self.power_levels(world),
            "m.room.join_rules" => {
                json!({"join_rule": if self.traits.public { "public" } else { "invite" }})
            }
            "m.room.history_visibility" => {
                json!({"history_visibility": self.traits.history_visibility})
            }
            "m.room.guest_access" => json!({"guest_access": "can_join"}),
            "m.room.name" => json!({"name": self.traits.name}),
            "m.room.topic" => json!({"topic": self.traits.topic}),
            _ if self.traits.encrypted => json!({"algorithm": "m.megolm.v1.aes-sha2"}),
            _ if self.traits.public => {
                kind = "m.room.canonical_alias";
                json!({"alias": self.alias(world)})
            }
            _ => {
                kind = "org.example.board";
                json!({"cards": []})
            }
        };
        let draft = Draft {
            kind,
            sender: creator.id.clone(),
            state_key: Some(state_key),
            content,
            redacts: None,
        };
        Some(Plan { draft, sender: self.creator, fork: false, simple: false })
    }

    /// The alias of a public room.
    pub(in crate::generate) fn alias(&self, world: &World) -> String {
        format!("#room{}:{}", self.number, world.server.name)
    }
}
