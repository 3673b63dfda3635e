//! The history of rooms on a laboratory's Synapse, as its clients see it and as other servers get it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use conduit_backfill::{
    Client, ClientError, Host as _, SigningKey,
    host::{PageEvent, Pdu, StateBefore, StateKey, StateMap, VerifyKey},
    http::{Answer, Http, HttpOptions, Repeat},
    testing::memory_host::MemoryHost,
};
use reqwest::{Method, StatusCode, Url};
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedServerName, RoomId, RoomVersionId};
use serde_json::{Value, json, value::RawValue};

use crate::lab::Lab;

/// A running Synapse, and what it takes to look into it.
#[derive(Debug)]
pub struct Past {
    /// Its notes.
    pub notes: Value,
    /// The federation client.
    pub client: Client,
    http: Http,
    base: Url,
    key: SigningKey,
    server: OwnedServerName,
    admin: String,
}

/// What is known of an event: its JSON and its place in a state.
type Known = BTreeMap<OwnedEventId, (CanonicalJsonObject, Option<StateKey>)>;

impl Past {
    /// Of a laboratory that runs.
    ///
    /// # Errors
    ///
    /// If its notes are not what they should be.
    pub fn of(lab: &Lab) -> anyhow::Result<Self> {
        let notes: Value = serde_json::from_str(&fs::read_to_string(lab.path("lab.json"))?)?;
        let key = SigningKey::parse(&fs::read_to_string(lab.note("signing_key"))?)?;
        let server: OwnedServerName = lab.note("server_name").try_into()?;
        let base = Url::parse(lab.note("base_url"))?;
        let options = HttpOptions::default();
        let client = Client::new(base.clone(), server.clone(), key.clone(), options.clone())?;
        let admin = fs::read_to_string(lab.note("admin_token_file"))?.trim().to_owned();
        Ok(Self { notes, client, http: Http::new(options)?, base, key, server, admin })
    }

    /// The rooms of the story, with their versions.
    pub fn rooms(&self) -> Vec<(String, String)> {
        let rooms = self.notes.get("rooms").and_then(Value::as_object);
        let text = |room: &Value, name: &str| Some(room.get(name)?.as_str()?.to_owned());
        let rooms = rooms.into_iter().flat_map(serde_json::Map::values);
        rooms.filter_map(|room| Some((text(room, "room_id")?, text(room, "version")?))).collect()
    }

    /// The users of the story who are logged in, with their access tokens.
    pub fn users(&self) -> Vec<(String, String)> {
        let users = self.notes.get("users").and_then(Value::as_object);
        let users = users.into_iter().flatten();
        let user = |(name, notes): (&String, &Value)| {
            let token = notes.pointer("/devices/0/access_token")?.as_str()?.to_owned();
            Some((format!("@{name}:{}", self.server), token))
        };
        users.filter_map(user).collect()
    }

    /// Asks the client API; with the administrator's token if there is none.
    ///
    /// # Errors
    ///
    /// If nobody answers, or the answer is no JSON.
    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
        token: Option<&str>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        let request = |client: &reqwest::Client| {
            let request = client
                .request(method.clone(), url.clone())
                .bearer_auth(token.unwrap_or(&self.admin));
            match &body {
                Some(body) => request.body(body.to_string()),
                None => request,
            }
        };
        let Answer { status, body, .. } = self.http.send(Repeat::Safe, request).await?;
        Ok((status, serde_json::from_slice(&body)?))
    }

    /// The events of a room in the order in which clients see them, oldest first: all of them, or those that a user is
    /// shown. `None` if the user is told nothing.
    ///
    /// # Errors
    ///
    /// If Synapse does not answer as it should.
    pub async fn messages(
        &self,
        room: &str,
        token: Option<&str>,
    ) -> anyhow::Result<Option<Vec<Value>>> {
        let path = match token {
            Some(_) => ["_matrix", "client", "v3", "rooms", room, "messages"],
            None => ["_synapse", "admin", "v1", "rooms", room, "messages"],
        };
        let mut from = "t0-0".to_owned();
        let mut events = Vec::new();
        loop {
            let query = [("dir", "f"), ("from", from.as_str()), ("limit", "500")];
            let (status, mut answer) = self.ask(Method::GET, &path, &query, None, token).await?;
            if status == StatusCode::FORBIDDEN && token.is_some() {
                return Ok(None);
            }
            ensure!(status.is_success(), "{room}: {status} {answer}");
            let chunk = answer.get_mut("chunk").and_then(Value::as_array_mut);
            events.extend(chunk.into_iter().flat_map(std::mem::take));
            match answer.get("end").and_then(Value::as_str) {
                Some(end) => end.clone_into(&mut from),
                None => return Ok(Some(events)),
            }
        }
    }

    /// The ids of all events of a room that clients may see, in their order. Administrators see those that failed softly too.
    ///
    /// # Errors
    ///
    /// As [`Self::messages`].
    pub async fn order(&self, room: &str) -> anyhow::Result<Vec<OwnedEventId>> {
        let events = self.messages(room, None).await?.unwrap_or_default();
        let hidden = "/unsigned/io.element.synapse.soft_failed";
        let shown = events.iter().filter(|event| event.pointer(hidden).is_none());
        let id = |event: &Value| event.get("event_id")?.as_str().map(OwnedEventId::try_from);
        shown.filter_map(id).map(|id| id.context("no id")).collect()
    }

    /// A homeserver that has the newest events of a room, with their states; `None` if Synapse gives nothing of the room to
    /// servers.
    ///
    /// # Errors
    ///
    /// If Synapse does not answer as it should.
    pub async fn newest(
        &self,
        room: &RoomId,
        version: &str,
        order: &[OwnedEventId],
        count: usize,
    ) -> anyhow::Result<Option<Arc<MemoryHost>>> {
        let host = MemoryHost::new();
        host.add_room(room, RoomVersionId::try_from(version)?);
        let own =
            ruma::serde::Base64::<ruma::serde::base64::Standard>::parse(self.key.public_key());
        let own = VerifyKey {
            key_id: self.key.id().to_owned(),
            key: own?.into_inner(),
            valid_until_ts: u64::MAX,
        };
        host.add_keys(&self.server, vec![own]);
        let mut known = Known::new();
        for id in order.get(order.len().saturating_sub(count)..).unwrap_or_default() {
            let ids = match self.client.state_ids(room, id).await {
                Ok(ids) => ids,
                Err(ClientError::NotInRoom { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let named: BTreeSet<_> = ids.pdu_ids.iter().chain(&ids.auth_chain_ids).collect();
            for id in named.into_iter().chain([id]) {
                self.learn(&mut known, id).await?;
            }
            let state: StateMap = ids
                .pdu_ids
                .iter()
                .filter_map(|id| Some((known.get(id)?.1.clone()?, id.clone())))
                .collect();
            let outliers = known.iter().map(|(id, (json, _))| pdu(id, json)).collect();
            host.add_outliers(room, outliers).await.map_err(anyhow::Error::from_boxed)?;
            let (json, _) = known.get(id).context("the event was learnt")?;
            let event = PageEvent {
                pdu: pdu(id, json),
                state_before: StateBefore::Whole(state),
                redacted_by: None,
            };
            host.push(room, event).map_err(anyhow::Error::from_boxed)?;
        }
        Ok(Some(Arc::new(host)))
    }

    async fn learn(&self, known: &mut Known, id: &OwnedEventId) -> anyhow::Result<()> {
        if known.contains_key(id) {
            return Ok(());
        }
        let text: Box<RawValue> = self.client.event(id).await?;
        let mut json: CanonicalJsonObject = serde_json::from_str(text.get())?;
        json.remove("unsigned");
        let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let key = text("type").zip(text("state_key"));
        known.insert(id.clone(), (json, key));
        Ok(())
    }

    /// Sends an event as a user; gives its id.
    ///
    /// # Errors
    ///
    /// If Synapse refuses.
    pub async fn send(
        &self,
        room: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
        token: &str,
    ) -> anyhow::Result<String> {
        let transaction = transaction(&content);
        let path = match state_key {
            Some(key) => vec!["_matrix", "client", "v3", "rooms", room, "state", kind, key],
            None => vec!["_matrix", "client", "v3", "rooms", room, "send", kind, &transaction],
        };
        let (status, answer) =
            self.ask(Method::PUT, &path, &[], Some(content), Some(token)).await?;
        ensure!(status.is_success(), "{kind}: {status} {answer}");
        Ok(text_of(&answer, "event_id"))
    }

    /// Makes a room; gives its id.
    ///
    /// # Errors
    ///
    /// If Synapse refuses.
    pub async fn create(&self, version: &str, body: Value, token: &str) -> anyhow::Result<String> {
        let mut body = body;
        if let Some(body) = body.as_object_mut() {
            body.insert("room_version".to_owned(), version.into());
        }
        let path = ["_matrix", "client", "v3", "createRoom"];
        let (status, answer) = self.ask(Method::POST, &path, &[], Some(body), Some(token)).await?;
        ensure!(status.is_success(), "{status} {answer}");
        Ok(text_of(&answer, "room_id"))
    }

    /// Joins or leaves a room.
    ///
    /// # Errors
    ///
    /// If Synapse refuses.
    pub async fn go(&self, room: &str, how: &str, token: &str) -> anyhow::Result<()> {
        let path = ["_matrix", "client", "v3", "rooms", room, how];
        let (status, answer) =
            self.ask(Method::POST, &path, &[], Some(json!({})), Some(token)).await?;
        ensure!(status.is_success(), "{how}: {status} {answer}");
        Ok(())
    }
}

fn pdu(id: &OwnedEventId, json: &CanonicalJsonObject) -> Pdu {
    Pdu { event_id: id.clone(), json: json.clone() }
}

/// Messages have different contents here, so that these name their transactions.
fn transaction(content: &Value) -> String {
    content.to_string().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// A field that is a text; empty if it is none.
fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
