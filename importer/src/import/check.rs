//! What stands in the way, known from the dump alone.

use crate::{
    conduit::{room_versions::is_supported, schema::keypair},
    dump::DumpReader,
    findings::{Finding, Severity},
    import::ImportError,
};

/// Findings that make the import impossible or are worth a warning. Codes and meanings are in the module's head.
///
/// # Errors
///
/// [`ImportError::Read`].
pub fn check(dump: &DumpReader) -> Result<Vec<Finding>, ImportError> {
    let mut findings = Vec::new();
    let server = dump.server()?;
    let name = &server.server_name;
    let seed = secrecy::ExposeSecret::expose_secret(&server.signing_key.seed);
    if let Err(error) = keypair::pkcs8(&server.signing_key.version, seed) {
        findings.push(Finding::import(
            Severity::Blocking,
            "I003",
            "signing key",
            error.to_string(),
            "give Synapse's own key file and dump again",
        ));
    }
    check_users(dump, name, &mut findings)?;
    check_rooms(dump, name, &mut findings)?;
    findings.sort();
    Ok(findings)
}

fn check_users(
    dump: &DumpReader,
    server_name: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), ImportError> {
    let mut has_admin = false;
    dump.each_user(|user| {
        has_admin |= user.admin && !user.deactivated;
        let id = user.user_id.as_str();
        if user.user_id.localpart() == "conduit" && user.user_id.server_name() == server_name {
            findings.push(if user.deactivated {
                Finding::import(
                    Severity::Note,
                    "I007",
                    id,
                    "was deactivated on Synapse and becomes Conduit's own account",
                    "",
                )
            } else {
                Finding::import(
                    Severity::Blocking,
                    "I001",
                    id,
                    "is an active account; Conduit needs this name for itself and empties its password at every start",
                    "move its owner to another account and deactivate it on Synapse \
                     (`POST /_synapse/admin/v1/deactivate/USER`), then dump again",
                )
            });
        }
        if user.user_id.localpart().chars().any(char::is_uppercase) {
            findings.push(Finding::import(
                Severity::Warning,
                "I006",
                id,
                "has capitals in its localpart; devices stay logged in, a new login by password is not possible",
                "",
            ));
        }
        Ok::<_, ImportError>(())
    })?;
    if !has_admin {
        findings.push(Finding::import(
            Severity::Warning,
            "I004",
            server_name,
            "no active server administrator; the next user to register on Conduit becomes one",
            "make a user administrator on Synapse and dump again, or keep registration closed until you have registered",
        ));
    }
    Ok(())
}

fn check_rooms(
    dump: &DumpReader,
    server_name: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), ImportError> {
    let admins = format!("#admins:{server_name}");
    for room in dump.rooms() {
        let room = room?;
        let head = room.head();
        if head.aliases.iter().any(|alias| alias.alias.as_str() == admins) {
            findings.push(Finding::import(
                Severity::Blocking,
                "I002",
                &admins,
                format!(
                    "is an alias of {}; on Conduit its members would be server administrators",
                    head.room_id
                ),
                format!(
                    "remove the alias on Synapse (`DELETE /_matrix/client/v3/directory/room/%23admins:{server_name}`), then dump again"
                ),
            ));
        }
        if !is_supported(head.room_version.as_deref()) && head.current_state.is_some() {
            let joined = head.local_members.iter().filter(|m| m.membership == "join").count();
            findings.push(Finding::import(
                Severity::Warning,
                "I005",
                head.room_id.as_str(),
                format!(
                    "has version {}, which Conduit can't hold; {joined} local users are in it",
                    head.room_version.as_deref().unwrap_or("unknown")
                ),
                "upgrade it on Synapse (`/upgraderoom 12` in Element, or \
                 `POST /_matrix/client/v3/rooms/ROOM/upgrade`), then dump again; otherwise it stays behind",
            ));
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
        check(&dump).unwrap().into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_obstacle_is_found() {
        let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let admin = json!({"user_id": "@root:own.test", "admin": true});
        let room = json!({"room_id": "!r:own.test", "room_version": "10", "current_state": 1});
        let with = |user: Value| codes(seed, &[admin.clone(), user], &room);
        assert_eq!(codes(seed, std::slice::from_ref(&admin), &room), [""; 0]);
        assert_eq!(with(json!({"user_id": "@conduit:own.test"})), ["I001"]);
        assert_eq!(with(json!({"user_id": "@conduit:own.test", "deactivated": true})), ["I007"]);
        assert_eq!(with(json!({"user_id": "@Bob:own.test"})), ["I006"]);
        assert_eq!(codes("short", std::slice::from_ref(&admin), &room), ["I003"]);
        assert_eq!(codes(seed, &[], &room), ["I004"]);
        let old = json!({"room_id": "!r:own.test", "room_version": "2", "current_state": 1});
        assert_eq!(codes(seed, std::slice::from_ref(&admin), &old), ["I005"]);
        let admins = json!({
            "room_id": "!r:own.test", "room_version": "10", "current_state": 1,
            "aliases": [{"alias": "#admins:own.test"}],
        });
        assert_eq!(codes(seed, &[admin], &admins), ["I002"]);
    }
}
