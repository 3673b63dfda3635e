//! What happens next in a room.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Value, json};

use super::{Fate, Message, Plan, Room};
use crate::generate::{World, event::Draft};

impl Room {
    pub(super) fn turn(&mut self, world: &World) -> Plan {
        let shape = &world.shape;
        let fork =
            self.tips.len() == 1 && self.fork_from.is_some() && self.random.chance(shape.forks);
        if fork {
            let state = self.random.chance(shape.state);
            let (sender, draft) = if state { self.setting(world) } else { self.message(world) };
            return Plan { draft, sender, fork, simple: true };
        }
        if self.random.chance(self.arrivals)
            && let Some((sender, draft)) = self.arrival(world)
        {
            return Plan { draft, sender, fork, simple: false };
        }
        if self.random.chance(shape.state) {
            if self.random.chance(0.6) {
                let (sender, draft) = self.setting(world);
                return Plan { draft, sender, fork, simple: true };
            }
            if let Some((sender, draft)) = self.coming_or_going(world) {
                return Plan { draft, sender, fork, simple: false };
            }
        }
        if self.random.chance(shape.redactions)
            && let Some((sender, draft)) = self.redaction(world)
        {
            return Plan { draft, sender, fork, simple: false };
        }
        let (sender, draft) = self.message(world);
        Plan { draft, sender, fork, simple: true }
    }

    fn draft(world: &World, sender: usize, kind: &'static str, content: Value) -> Draft {
        let sender = world.people[sender].id.clone();
        Draft { kind, sender, state_key: None, content, redacts: None }
    }

    fn member(world: &World, sender: usize, target: usize, membership: &str) -> (usize, Draft) {
        let person = &world.people[target];
        let content = match membership {
            "leave" | "ban" => json!({"membership": membership}),
            _ => person.membership(membership),
        };
        let mut draft = Self::draft(world, sender, "m.room.member", content);
        draft.state_key = Some(person.id.clone());
        (sender, draft)
    }

    /// The next who was planned to come: joins a public room, is invited into others and joins later.
    fn arrival(&mut self, world: &World) -> Option<(usize, Draft)> {
        if !self.invited.is_empty() && self.random.chance(0.5) {
            let place = self.random.below(self.invited.len());
            let person = self.invited.swap_remove(place);
            self.joined.push(person);
            return Some(Self::member(world, person, person, "join"));
        }
        let person = self.planned.pop()?;
        if self.traits.public {
            self.joined.push(person);
            return Some(Self::member(world, person, person, "join"));
        }
        // Some never answer.
        if !self.random.chance(0.03) {
            self.invited.push(person);
        }
        Some(Self::member(world, self.creator, person, "invite"))
    }

    /// A change that is no arrival: of a profile, of power, of who may see, or somebody goes.
    fn coming_or_going(&mut self, world: &World) -> Option<(usize, Draft)> {
        let kind = self.random.share();
        if kind < 0.4 {
            let person = *self.random.pick(&self.joined);
            let (sender, mut draft) = Self::member(world, person, person, "join");
            draft.content["displayname"] = world.words.sentence(&mut self.random, 2).into();
            return Some((sender, draft));
        }
        if kind < 0.5 && !self.left.is_empty() {
            let place = self.random.below(self.left.len());
            let person = self.left.swap_remove(place);
            if !self.traits.public {
                self.invited.push(person);
                return Some(Self::member(world, self.creator, person, "invite"));
            }
            self.joined.push(person);
            return Some(Self::member(world, person, person, "join"));
        }
        if kind < 0.6 {
            let visibility = self.random.word(&["shared", "joined", "invited"]);
            let content = json!({"history_visibility": visibility});
            let mut draft = Self::draft(world, self.creator, "m.room.history_visibility", content);
            draft.state_key = Some(String::new());
            return Some((self.creator, draft));
        }
        // The creator stays.
        if self.joined.len() < 4 {
            return None;
        }
        let place = 1 + self.random.below(self.joined.len() - 1);
        if kind < 0.7 {
            self.moderators.push(self.joined[place]);
            let content = self.power_levels(world);
            let mut draft = Self::draft(world, self.creator, "m.room.power_levels", content);
            draft.state_key = Some(String::new());
            return Some((self.creator, draft));
        }
        let person = self.joined.swap_remove(place);
        if kind < 0.93 {
            self.left.push(person);
            let sender = if kind < 0.9 { person } else { self.creator };
            return Some(Self::member(world, sender, person, "leave"));
        }
        Some(Self::member(world, self.creator, person, "ban"))
    }

    pub(super) fn power_levels(&self, world: &World) -> Value {
        let mut users: serde_json::Map<_, _> = self
            .moderators
            .iter()
            .map(|person| (world.people[*person].id.clone(), 50.into()))
            .collect();
        if !self.version.creators_have_power() {
            users.insert(world.people[self.creator].id.clone(), 100.into());
        }
        json!({
            "users": users, "users_default": 0, "events_default": 0, "state_default": 50,
            "ban": 50, "kick": 50, "redact": 50, "invite": 0, "historical": 100,
            "events": {"m.room.name": 50, "m.room.power_levels": 100, "org.example.board": 0},
        })
    }

    /// A setting that no other event depends on.
    fn setting(&mut self, world: &World) -> (usize, Draft) {
        let kind = self.random.share();
        let (sender, mut draft) = if kind < 0.2 {
            let content = json!({"topic": world.words.sentence(&mut self.random, 8)});
            (self.creator, Self::draft(world, self.creator, "m.room.topic", content))
        } else if kind < 0.3 {
            let content = json!({"name": world.words.sentence(&mut self.random, 3)});
            (self.creator, Self::draft(world, self.creator, "m.room.name", content))
        } else {
            let sender = self.speaker();
            let content = json!({"cards": [world.words.sentence(&mut self.random, 4)]});
            (sender, Self::draft(world, sender, "org.example.board", content))
        };
        let boards = if draft.kind == "org.example.board" { self.random.below(20) } else { 0 };
        draft.state_key = Some(if boards == 0 { String::new() } else { boards.to_string() });
        (sender, draft)
    }

    fn speaker(&mut self) -> usize {
        let place = self.random.low(self.joined.len());
        self.joined[place]
    }

    /// The sender or the creator takes a message back.
    fn redaction(&mut self, world: &World) -> Option<(usize, Draft)> {
        // What has relations stays: Synapse would forget them.
        let plain: Vec<&Message> = self
            .recent
            .iter()
            .filter(|message| message.own && message.fate == Fate::Alone)
            .collect();
        if plain.is_empty() {
            return None;
        }
        let message = (*self.random.pick(&plain)).clone();
        let may = self.joined.contains(&message.sender) && self.random.chance(0.8);
        let sender = if may { message.sender } else { self.creator };
        let mut draft =
            Self::draft(world, sender, "m.room.redaction", json!({"reason": "mistake"}));
        draft.redacts = Some(message.event_id);
        Some((sender, draft))
    }

    /// Somebody says something, or relates to what was said.
    fn message(&mut self, world: &World) -> (usize, Draft) {
        let sender = self.speaker();
        let kind = self.random.share();
        let related = self.random.chance(world.shape.relations);
        let target = (related && !self.recent.is_empty())
            .then(|| self.random.pick(&self.recent).clone())
            .filter(|target| {
                target.fate != Fate::Redacted && (target.own || target.thread.is_some())
            });
        if let Some(target) = target {
            let id = target.event_id.as_str();
            if kind < 0.4 && target.thread.is_none() {
                let key = self.random.word(&["👍", "❤️", "🎉", "ok"]);
                let content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": id, "key": key}});
                return (sender, Self::draft(world, sender, "m.reaction", content));
            }
            let mut draft = self.text(world, sender);
            draft.content["m.relates_to"] = if kind < 0.55 || target.thread.is_some() {
                let root = target.thread.as_deref().unwrap_or(id);
                json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": true,
                       "m.in_reply_to": {"event_id": id}})
            } else if kind < 0.75 && self.joined.contains(&target.sender) && !self.traits.encrypted
            {
                draft.sender.clone_from(&world.people[target.sender].id);
                let new = draft.content.clone();
                draft.content["body"] =
                    format!("* {}", new["body"].as_str().unwrap_or_default()).into();
                draft.content["m.new_content"] = new;
                draft.content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": id});
                return (target.sender, draft);
            } else {
                json!({"m.in_reply_to": {"event_id": id}})
            };
            return (sender, draft);
        }
        if kind < 0.04
            && !self.traits.encrypted
            && let Some(uri) = world.media.uri(&world.server.name, &mut self.random)
        {
            let content = json!({"msgtype": "m.file", "body": "file.bin", "url": uri,
                                 "info": {"mimetype": "application/octet-stream", "size": 5000}});
            return (sender, Self::draft(world, sender, "m.room.message", content));
        }
        (sender, self.text(world, sender))
    }

    fn text(&mut self, world: &World, sender: usize) -> Draft {
        if self.traits.encrypted {
            let length = 120 + self.random.low(300);
            let device = &world.people[sender].devices[0].id;
            let content = json!({
                "algorithm": "m.megolm.v1.aes-sha2", "device_id": device, "session_id": "session",
                "sender_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "ciphertext": STANDARD_NO_PAD.encode(self.random.bytes(length)),
            });
            return Self::draft(world, sender, "m.room.encrypted", content);
        }
        let length = 2 + self.random.low(24);
        let mut body = world.words.sentence(&mut self.random, length);
        if self.made.is_multiple_of(500) || self.made == super::birth::BIRTH {
            // Words to be searched for.
            body = format!("{body} milestone{}x{}", self.number, self.made);
        }
        let content = json!({"msgtype": "m.text", "body": body, "m.mentions": {}});
        Self::draft(world, sender, "m.room.message", content)
    }
}
