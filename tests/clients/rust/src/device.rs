//! A client on a device, with its own store: what a person does with it, and what is to be seen then.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use matrix_sdk::{
    Client, Room,
    authentication::matrix::MatrixSession,
    config::SyncSettings,
    encryption::{BackupDownloadStrategy, EncryptionSettings},
    ruma::{OwnedUserId, RoomId, events::room::message::RoomMessageEventContent},
    sliding_sync::VersionBuilder,
};
use matrix_sdk_ui::{
    sync_service::{State, SyncService},
    timeline::{RoomExt as _, Timeline},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{events, text};

const PAGE: u16 = 20;
const ATTEMPTS: usize = 400;
const PAUSE: Duration = Duration::from_millis(100);

/// How a running client hears of what is new.
enum Sync {
    /// As Element X does.
    Sliding(Arc<SyncService>),
    /// `/sync`.
    Classic(JoinHandle<()>),
}

pub struct Device {
    url: String,
    store: PathBuf,
    session: Option<MatrixSession>,
    is_sliding: bool,
    client: Option<Client>,
    sync: Option<Sync>,
    /// Rooms that are open on the screen; they stay so.
    timelines: BTreeMap<String, Arc<Timeline>>,
}

impl Device {
    pub fn new(url: &str, store: PathBuf) -> Self {
        let (session, client, sync) = (None, None, None);
        let timelines = BTreeMap::new();
        Self { url: url.to_owned(), store, session, is_sliding: false, client, sync, timelines }
    }

    pub async fn act(&mut self, what: &str, how: &Value) -> anyhow::Result<Value> {
        match what {
            "login" => self.login(how).await,
            "start" => self.start().await,
            "stop" => self.stop().await,
            "online" => self.online().await,
            "rooms" => self.rooms().await,
            "page" => self.page(text(how, "room")?).await,
            "scroll" => self.scroll(text(how, "room")?).await,
            "clear" => self.clear().await,
            "texts" => self.texts(text(how, "room")?).await,
            "say" => self.say(text(how, "room")?, text(how, "text")?).await,
            "hears" => self.hears(text(how, "room")?, text(how, "event")?).await,
            "newKey" => self.new_key(text(how, "room")?).await,
            "join" => self.join(text(how, "room")?).await,
            "begin" => self.begin().await,
            "recover" => self.recover(text(how, "key")?).await,
            "trust" => self.trust(text(how, "user")?).await,
            "beliefs" => self.beliefs(text(how, "user")?).await,
            _ => bail!("{what} is not known"),
        }
    }

    fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("it is not running")
    }

    fn room(&self, id: &str) -> anyhow::Result<Room> {
        self.client()?.get_room(&RoomId::parse(id)?).with_context(|| format!("no room {id}"))
    }

    async fn build(&self) -> anyhow::Result<Client> {
        let encryption = EncryptionSettings {
            auto_enable_cross_signing: true,
            backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
            auto_enable_backups: true,
        };
        let builder = Client::builder()
            .homeserver_url(&self.url)
            .sqlite_store(&self.store, None)
            .respect_login_well_known(false)
            .sliding_sync_version_builder(VersionBuilder::Native)
            .with_encryption_settings(encryption);
        Ok(builder.build().await?)
    }

    async fn login(&mut self, how: &Value) -> anyhow::Result<Value> {
        self.is_sliding = how["sliding"] == true;
        let client = self.build().await?;
        let auth = client.matrix_auth();
        auth.login_username(text(how, "user")?, text(how, "password")?).send().await?;
        let session = auth.session().context("no session")?;
        let told = json!({
            "device_id": session.meta.device_id, "user_id": session.meta.user_id,
            "access_token": session.tokens.access_token,
        });
        (self.session, self.client) = (Some(session), Some(client));
        Ok(told)
    }

    /// From the store, if it was there before.
    async fn start(&mut self) -> anyhow::Result<Value> {
        if self.client.is_none() {
            let client = self.build().await?;
            client.restore_session(self.session.clone().context("nobody is logged in")?).await?;
            self.client = Some(client);
        }
        let client = self.client()?.clone();
        client.event_cache().subscribe()?;
        self.sync = Some(if self.is_sliding {
            let service = SyncService::builder(client).with_share_pos(true).build().await?;
            Sync::Sliding(Arc::new(service))
        } else {
            Sync::Classic(tokio::spawn(sync_for_ever(client)))
        });
        self.online().await
    }

    async fn stop(&mut self) -> anyhow::Result<Value> {
        self.timelines.clear();
        match self.sync.take() {
            Some(Sync::Sliding(service)) => service.stop().await,
            Some(Sync::Classic(task)) => task.abort(),
            None => {}
        }
        self.client = None;
        Ok(Value::Null)
    }

    /// Until an answer of the server has come; an app starts a service anew that has failed.
    async fn online(&self) -> anyhow::Result<Value> {
        let mut updates = self.client()?.subscribe_to_all_room_updates();
        let mut quiet = 0;
        for _ in 0..ATTEMPTS {
            if let Some(Sync::Sliding(service)) = &self.sync
                && !matches!(service.state().get(), State::Running)
            {
                service.start().await;
                quiet = 0;
            }
            // Updates come in several answers; when there are no more of them, it is up to date.
            quiet = if updates.try_recv().is_ok() { 0 } else { quiet + 1 };
            if quiet > 20 {
                return Ok(Value::Null);
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("it does not come to rest")
    }

    async fn rooms(&self) -> anyhow::Result<Value> {
        let mut seen = BTreeMap::new();
        for room in self.client()?.rooms() {
            let unread = room.unread_notification_counts();
            seen.insert(
                room.room_id().to_string(),
                json!({
                    "membership": room.state(),
                    "name": room.display_name().await?.to_string(),
                    "unread": [unread.notification_count, unread.highlight_count],
                }),
            );
        }
        Ok(serde_json::to_value(seen)?)
    }

    /// Opens a room, as if on the screen.
    async fn open(&mut self, id: &str) -> anyhow::Result<Arc<Timeline>> {
        if let Some(timeline) = self.timelines.get(id) {
            return Ok(Arc::clone(timeline));
        }
        let room = self.room(id)?;
        if let Some(Sync::Sliding(service)) = &self.sync {
            service.room_list_service().subscribe_to_rooms(&[room.room_id()]).await;
        }
        let timeline = Arc::new(room.timeline().await?);
        self.timelines.insert(id.to_owned(), Arc::clone(&timeline));
        Ok(timeline)
    }

    async fn page(&mut self, id: &str) -> anyhow::Result<Value> {
        Ok(self.open(id).await?.paginate_backwards(PAGE).await?.into())
    }

    async fn scroll(&mut self, id: &str) -> anyhow::Result<Value> {
        let timeline = self.open(id).await?;
        let mut pages = 0;
        while !timeline.paginate_backwards(PAGE).await? {
            pages += 1;
            ensure!(pages < ATTEMPTS, "the room has no beginning");
        }
        events::of(&self.room(id)?).await
    }

    /// What an app's "clear cache" does to rooms.
    async fn clear(&mut self) -> anyhow::Result<Value> {
        self.timelines.clear();
        self.client()?.event_cache().clear_all_rooms().await?;
        Ok(Value::Null)
    }

    async fn texts(&mut self, id: &str) -> anyhow::Result<Value> {
        self.scroll(id).await?;
        events::texts(&self.room(id)?).await
    }

    async fn say(&mut self, id: &str, text: &str) -> anyhow::Result<Value> {
        let said = self.room(id)?.send(RoomMessageEventContent::text_plain(text)).await?;
        Ok(json!(said.response.event_id))
    }

    async fn hears(&mut self, id: &str, event: &str) -> anyhow::Result<Value> {
        let mut heard = None;
        for _ in 0..ATTEMPTS {
            if let Ok(room) = self.room(id) {
                self.open(id).await?;
                heard = events::text(&room, event).await?;
                if heard.as_ref().is_some_and(Value::is_string) {
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        heard.with_context(|| format!("{event} does not come"))
    }

    async fn new_key(&mut self, id: &str) -> anyhow::Result<Value> {
        self.room(id)?.discard_room_key().await?;
        Ok(Value::Null)
    }

    async fn join(&mut self, id: &str) -> anyhow::Result<Value> {
        self.client()?.join_room_by_id(&RoomId::parse(id)?).await?;
        Ok(Value::Null)
    }

    /// Secret storage and a key backup; gives the recovery key.
    async fn begin(&mut self) -> anyhow::Result<Value> {
        let encryption = self.client()?.encryption();
        encryption.wait_for_e2ee_initialization_tasks().await;
        Ok(encryption.recovery().enable().wait_for_backups_to_upload().await?.into())
    }

    async fn recover(&mut self, key: &str) -> anyhow::Result<Value> {
        let encryption = self.client()?.encryption();
        encryption.wait_for_e2ee_initialization_tasks().await;
        encryption.recovery().recover(key).await?;
        Ok(Value::Null)
    }

    /// Signs another user's identity.
    async fn trust(&mut self, user: &str) -> anyhow::Result<Value> {
        let user: OwnedUserId = user.try_into()?;
        let encryption = self.client()?.encryption();
        let identity = encryption.request_user_identity(&user).await?.context("no identity")?;
        identity.verify().await?;
        Ok(Value::Null)
    }

    async fn beliefs(&mut self, user: &str) -> anyhow::Result<Value> {
        let user: OwnedUserId = user.try_into()?;
        let encryption = self.client()?.encryption();
        let own = encryption.get_own_device().await?.context("no device")?;
        let identity = encryption.get_user_identity(&user).await?;
        Ok(json!({
            "keys": encryption.ed25519_key().await, "own": own.is_verified_with_cross_signing(),
            "other": identity.map(|identity| identity.is_verified()),
            "backup": encryption.backups().fetch_exists_on_server().await?,
            "enabled": encryption.backups().are_enabled().await,
        }))
    }
}

/// `/sync` from where the store ends; what fails is tried again.
async fn sync_for_ever(client: Client) {
    loop {
        if let Err(error) = client.sync(SyncSettings::default()).await {
            eprintln!("{error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
