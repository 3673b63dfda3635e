//! Accounts: who they are, what they log in with, what they set for themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject,
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::{Value, json};

use super::{
    START,
    event::{self, Server, ascii},
    media::Media,
    random::{Random, Words},
    table::{self, Sink},
};

/// Nobody knows the password.
const PASSWORD_HASH: &str = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
const ONE_TIME_KEYS: usize = 5;

/// An account.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) localpart: String,
    pub(super) id: String,
    pub(super) displayname: String,
    pub(super) avatar_url: Option<String>,
    pub(super) devices: Vec<Device>,
}

/// A login.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) token: String,
}

impl Person {
    pub(super) fn new(
        server: &Server,
        seed: u64,
        number: usize,
        words: &Words,
        media: &Media,
    ) -> Self {
        let mut random = Random::new(seed, "person", number);
        let localpart = format!("user{number}");
        let avatar_url = random.chance(0.4).then(|| media.uri(&server.name, &mut random)).flatten();
        let devices: Vec<_> = (0..=random.low(3))
            .map(|_| {
                let id = random.letters(10).to_ascii_uppercase();
                let name = STANDARD_NO_PAD.encode(&localpart);
                Device {
                    id,
                    token: format!("syt_{name}_{}_{}", random.letters(20), random.letters(6)),
                }
            })
            .collect();
        Self {
            id: format!("@{localpart}:{}", server.name),
            displayname: words.sentence(&mut random, 2),
            avatar_url,
            devices,
            localpart,
        }
    }

    /// The content of an event with which this person is in a room.
    pub(super) fn membership(&self, membership: &str) -> Value {
        let mut content = json!({"membership": membership, "displayname": self.displayname});
        if let Some(avatar_url) = &self.avatar_url {
            content["avatar_url"] = avatar_url.as_str().into();
        }
        content
    }

    /// All rows of the account that are not about rooms. `number` counts accounts.
    pub(super) fn write(
        &self,
        sink: &mut dyn Sink,
        number: usize,
        seed: u64,
    ) -> anyhow::Result<()> {
        let mut random = Random::new(seed, "account", number);
        let count = i64::try_from(number)?;
        sink.row(
            &table::USERS,
            &[
                (&self.id).into(),
                PASSWORD_HASH.into(),
                (START / 1000 + count).into(),
                i64::from(number == 0).into(),
                0.into(),
                0.into(),
                false.into(),
                true.into(),
                false.into(),
                false.into(),
            ],
        )?;
        let displayname = self.displayname.as_str();
        let avatar_url = self.avatar_url.as_deref();
        sink.row(
            &table::PROFILES,
            &[(&self.localpart).into(), displayname.into(), avatar_url.into(), (&self.id).into()],
        )?;
        let settings =
            json!({"theme": random.word(&["dark", "light"]), "seen": random.below(1000)});
        sink.row(
            &table::ACCOUNT_DATA,
            &[
                (&self.id).into(),
                "org.example.settings".into(),
                (2 * count + 2).into(),
                (&settings.to_string()).into(),
                "master".into(),
            ],
        )?;
        let filter = br#"{"room":{"timeline":{"limit":20}}}"#;
        sink.row(
            &table::FILTERS,
            &[(&self.localpart).into(), 0.into(), filter.as_slice().into(), (&self.id).into()],
        )?;
        for (place, device) in self.devices.iter().enumerate() {
            let key = event::key(&device.id, &random.bytes(32))?;
            // At most three devices each.
            device.write(sink, self, &key, &mut random, 4 * count + i64::try_from(place)? + 2)?;
        }
        Ok(())
    }
}

impl Device {
    fn write(
        &self,
        sink: &mut dyn Sink,
        owner: &Person,
        key: &Ed25519KeyPair,
        random: &mut Random,
        id: i64,
    ) -> anyhow::Result<()> {
        let user_id = owner.id.as_str();
        let seen = START + id;
        sink.row(
            &table::DEVICES,
            &[
                user_id.into(),
                (&self.id).into(),
                "Telephone".into(),
                seen.into(),
                "127.0.0.1".into(),
                "Client/1.0".into(),
                false.into(),
            ],
        )?;
        sink.row(
            &table::ACCESS_TOKENS,
            &[
                id.into(),
                user_id.into(),
                (&self.id).into(),
                (&self.token).into(),
                seen.into(),
                true.into(),
            ],
        )?;
        sink.row(
            &table::DEVICE_LISTS,
            &[id.into(), user_id.into(), (&self.id).into(), "master".into()],
        )?;
        let base64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let [curve, ed25519] = ["curve25519", "ed25519"].map(|kind| format!("{kind}:{}", self.id));
        let keys = json!({
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "user_id": user_id, "device_id": self.id,
            "keys": {curve: base64(&random.bytes(32)), ed25519: base64(&key.public_key())},
        });
        let keys = signed(user_id, key, keys)?;
        sink.row(
            &table::DEVICE_KEYS,
            &[user_id.into(), (&self.id).into(), seen.into(), (&keys).into()],
        )?;
        for number in 0..ONE_TIME_KEYS {
            let one = signed(user_id, key, json!({"key": base64(&random.bytes(32))}))?;
            let key_id = format!("AAAA{number:02}");
            sink.row(
                &table::ONE_TIME_KEYS,
                &[
                    user_id.into(),
                    (&self.id).into(),
                    "signed_curve25519".into(),
                    (&key_id).into(),
                    seen.into(),
                    (&one).into(),
                ],
            )?;
        }
        Ok(())
    }
}

fn signed(user_id: &str, key: &Ed25519KeyPair, json: Value) -> anyhow::Result<String> {
    let mut json: CanonicalJsonObject = serde_json::from_value(json)?;
    sign_json(user_id, key, &mut json)?;
    ascii(&serde_json::to_string(&json)?)
}
