//! The checks that a dump alone allows, by the same codes.

use super::Checks;
use crate::{
    conduit::{
        room_versions::is_supported,
        schema::{dialect::Dialect, keypair},
    },
    counted::count,
    dump::{DumpReader, ReadError, format::DumpUser},
    findings::{Finding, Severity, codes},
};

/// What stands in the way of importing a dump for a server, or will be missed. A room of a version that Conduit can't hold does not
/// block: whoever made the dump has decided.
///
/// # Errors
///
/// [`ReadError`].
pub fn of_dump(dump: &DumpReader, dialect: Dialect) -> Result<Vec<Finding>, ReadError> {
    let mut checks = Checks::of(dialect);
    let server = dump.server()?;
    let seed = secrecy::ExposeSecret::expose_secret(&server.signing_key.seed);
    if let Err(error) = keypair::pkcs8(&server.signing_key.version, seed) {
        checks.found(&codes::SIGNING_KEY, &server.signing_key.version, error.to_string());
    }
    users(&mut checks, dump, &server.server_name)?;
    rooms(&mut checks, dump, &server.server_name)?;
    let mut findings = checks.finish();
    for finding in &mut findings {
        if finding.code == codes::ROOM_VERSION.code {
            finding.severity = Severity::Warning;
        }
        if finding.code != codes::NO_ADMIN.code && !finding.remedy.is_empty() {
            finding.remedy.to_mut().push_str("; then make a new dump");
        }
    }
    findings.sort();
    Ok(findings)
}

fn users(checks: &mut Checks, dump: &DumpReader, server_name: &str) -> Result<(), ReadError> {
    let mut has_admin = false;
    dump.each_user(|user: DumpUser| {
        let is_restricted = user.locked
            || user.suspended
            || user.shadow_banned
            || user.awaiting_approval
            || user.guest;
        has_admin |= user.admin && !user.deactivated && !is_restricted;
        if user.user_id.server_name() == server_name {
            super::accounts::name(checks, &user.user_id, user.deactivated);
        }
        Ok::<_, ReadError>(())
    })?;
    if !has_admin {
        checks.found(&codes::NO_ADMIN, server_name, "no active server administrator");
    }
    Ok(())
}

fn rooms(checks: &mut Checks, dump: &DumpReader, server_name: &str) -> Result<(), ReadError> {
    let admins = format!("#admins:{server_name}");
    for room in dump.rooms() {
        let room = room?;
        let head = room.head();
        if head.aliases.iter().any(|alias| alias.alias.as_str() == admins) {
            checks.found(&codes::ADMINS_ALIAS, &admins, format!("is an alias of {}", head.room_id));
        }
        if !is_supported(head.room_version.as_deref()) && head.current_state.is_some() {
            let joined = head.local_members.iter().filter(|m| m.membership == "join").count();
            let version = head.room_version.as_deref().unwrap_or("unknown");
            let text = format!("version {version}, {}", count(joined, "local user"));
            checks.found(&codes::ROOM_VERSION, head.room_id.as_str(), text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dump::{DumpWriter, format::DumpUser};

    fn from<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    /// Codes of what is found in a dump with this seed, these users and this room.
    fn codes(seed: &str, users: &[Value], room: &Value) -> Vec<&'static str> {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("dump");
        let writer = DumpWriter::create(&directory).unwrap();
        let key = json!({"version": "a", "seed": seed});
        writer.server(&from(json!({"server_name": "own.test", "signing_key": key}))).unwrap();
        for user in users {
            writer.user(&from::<DumpUser>(user.clone())).unwrap();
        }
        let room = writer.room(&from(room.clone())).unwrap();
        writer.finish_room(room).unwrap();
        let manifest = json!({
            "version": crate::dump::format::VERSION, "server_name": "own.test", "created_ts": 1, "files": [],
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
        });
        writer.finish(from(manifest)).unwrap();
        let dump = DumpReader::open(&directory, |_| {}).unwrap();
        of_dump(&dump, Dialect::Conduit).unwrap().into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_obstacle_is_found() {
        let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let admin = json!({"user_id": "@root:own.test", "admin": true});
        let room = json!({"room_id": "!r:own.test", "room_version": "10", "current_state": 1});
        let with = |user: Value| codes(seed, &[admin.clone(), user], &room);
        assert_eq!(codes(seed, std::slice::from_ref(&admin), &room), [""; 0]);
        assert_eq!(with(json!({"user_id": "@conduit:own.test"})), ["C201"]);
        assert_eq!(with(json!({"user_id": "@conduit:own.test", "deactivated": true})), ["C202"]);
        assert_eq!(with(json!({"user_id": "@Bob:own.test"})), ["C206"]);
        assert_eq!(codes("short", std::slice::from_ref(&admin), &room), ["C102"]);
        assert_eq!(codes(seed, &[], &room), ["C204"]);
        for restriction in
            ["deactivated", "locked", "suspended", "shadow_banned", "awaiting_approval", "guest"]
        {
            let admin = json!({"user_id": "@root:own.test", "admin": true, restriction: true});
            assert_eq!(codes(seed, &[admin], &room), ["C204"], "{restriction}");
        }
        let old = json!({"room_id": "!r:own.test", "room_version": "2", "current_state": 1});
        assert_eq!(codes(seed, std::slice::from_ref(&admin), &old), ["C301"]);
        let admins = json!({
            "room_id": "!r:own.test", "room_version": "10", "current_state": 1,
            "aliases": [{"alias": "#admins:own.test"}],
        });
        assert_eq!(codes(seed, &[admin], &admins), ["C203"]);
    }
}
