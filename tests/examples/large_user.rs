//! Makes a dump with one user who owns much, to measure import and verification with: a key backup, and messages that wait
//! for a device.
//!
//! ```console
//! $ cargo run -p migration-tests --example large_user -- DIR [SESSIONS] [MESSAGES] [KILOBYTES]
//! $ /usr/bin/time -v target/debug/importer import --dump DIR --database DATABASE
//! $ /usr/bin/time -v target/debug/importer verify --dump DIR --database DATABASE
//! ```

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use importer::dump::{
    DumpWriter,
    format::{DumpMessage, DumpUser, Manifest},
};
use serde_json::{Value, json};

const SERVER: &str = "large.test";
const USER: &str = "@admin:large.test";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().context("say where the dump is to be")?;
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (sessions, messages, kilobytes) = (number(100_000)?, number(5_000)?, number(60)?);

    let writer = DumpWriter::create(Path::new(&directory))?;
    writer.server(&from(json!({
        "server_name": SERVER,
        "signing_key": {"version": "a", "seed": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
    }))?)?;
    let session = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": {"ciphertext": "c".repeat(300), "ephemeral": "e".repeat(43), "mac": "mac"},
    });
    let sessions: BTreeMap<_, _> =
        (0..sessions).map(|number| (format!("{number:043}"), session.clone())).collect();
    let message = json!({
        "type": "m.room.encrypted", "sender": USER,
        "content": {"body": "x".repeat(kilobytes.saturating_mul(1000))},
    });
    let user: DumpUser = from(json!({
        "user_id": USER, "admin": true, "push_rules": {"global": {}}, "devices": [{"device_id": "A"}],
        "key_backups": [{
            "version": "1", "algorithm": "m.megolm_backup.v1", "auth_data": {}, "etag": "1",
            "rooms": {"!room:large.test": sessions},
        }],
    }))?;
    writer.user(&user)?;
    let message: DumpMessage = from(json!({"device_id": "A", "message": message}))?;
    let mut file = writer.messages(&user.user_id);
    for _ in 0..messages {
        file.message(&message)?;
    }
    writer.finish_messages(file)?;
    writer.finish(from::<Manifest>(json!({
        "version": importer::dump::format::VERSION, "server_name": SERVER, "created_ts": 1_600_000_000_000_u64,
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
        "files": [],
    }))?)?;
    Ok(())
}

fn from<T: ruma::exports::serde::de::DeserializeOwned>(json: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(json)?)
}
