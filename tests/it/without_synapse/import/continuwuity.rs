//! A database for Continuwuity: what it has a place for and Conduit has not moves, rows are in its own trees, and verification
//! finds what differs.

use std::collections::BTreeMap;

use importer::{
    conduit::{
        schema::{
            dialect::Dialect,
            trees::{self, Tree},
        },
        store::{self, Backend, Changes, KvRead, NewStore},
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpRoom, DumpState, DumpUser, Manifest},
    },
    findings::Severity,
    import::{self, Imported},
    progress::Progress,
    verify::{self, StateComparison},
};
use migration_tests::command;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helpers::handmade_dump::{ALICE, Events, SEED, from};

const LEFT_ROOM: &str = "!left:dump.test";

/// An account of each kind, and an invite.
fn dump(directory: &std::path::Path) -> DumpReader {
    let writer = DumpWriter::create(directory).unwrap();
    let server = json!({
        "server_name": "dump.test", "signing_key": {"version": "a", "seed": SEED},
        "old_signing_keys": [
            {"key_id": "ed25519:old", "public_key": "PUBLIC", "expired_ts": 5},
            {"key_id": "ed25519:odd id", "public_key": "ODD", "expired_ts": 7},
        ],
        "blocked_rooms": ["!blocked:dump.test"],
    });
    writer.server(&from(server)).unwrap();
    let token = |token: &str| json!({ "token": token });
    let device = |id: &str, more: Value| {
        let mut device = json!({"device_id": id, "access_tokens": [token(id)]});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        device
    };
    let users = [
        json!({
            "user_id": ALICE, "password_hash": "$2b$12$hash",
            "profile": {"displayname": "Alice", "fields": {"m.tz": "Europe/Berlin"}},
            "threepids": [
                {"medium": "email", "address": "no address", "validated_ts": 1, "added_ts": 1},
                {"medium": "email", "address": "a@dump.test", "validated_ts": 1, "added_ts": 1},
                {"medium": "email", "address": "b@dump.test", "validated_ts": 1, "added_ts": 1},
                {"medium": "msisdn", "address": "49123", "validated_ts": 1, "added_ts": 1},
            ],
            "external_ids": [{"auth_provider": "oidc", "external_id": "1"}],
            "devices": [
                device("PHONE", json!({
                    "keys": {"user_id": ALICE, "device_id": "PHONE", "algorithms": [], "keys": {}, "signatures": {}},
                    "fallback_keys": {"signed_curve25519:AAAA": {"key": {"key": "f"}, "used": true}},
                })),
                device("ENDS", json!({"access_tokens": [{"token": "ends", "valid_until_ts": 1_800_000_000_123_u64}]})),
            ],
            "pushers": [{
                "pushkey": "key", "app_id": "app", "kind": "http", "app_display_name": "App", "device_display_name": "Telephone",
                "lang": "en", "data": {"url": "https://push.test"}, "enabled": true, "device_id": "PHONE",
            }],
        }),
        json!({
            "user_id": "@locked:dump.test", "locked": true, "password_hash": "$2b$12$hash", "devices": [device("L", json!({}))],
            "threepids": [{"medium": "email", "address": "a@dump.test", "validated_ts": 1, "added_ts": 1}],
        }),
        json!({
            "user_id": "@suspended:dump.test", "suspended": true, "devices": [device("S", json!({}))],
            // Two accounts in one app.
            "pushers": [{
                "pushkey": "key", "app_id": "app", "kind": "http", "app_display_name": "App", "device_display_name": "Telephone",
                "lang": "en", "data": {"url": "https://push.test"}, "enabled": true, "device_id": "S",
            }],
        }),
        json!({
            "user_id": "@waiting:dump.test", "awaiting_approval": true, "password_hash": "$2b$12$hash",
            "threepids": [{"medium": "email", "address": "w@dump.test", "validated_ts": 1, "added_ts": 1}],
        }),
        json!({"user_id": "@gone:dump.test", "deactivated": true}),
        json!({"user_id": "@shadow:dump.test", "shadow_banned": true, "devices": [device("B", json!({}))]}),
    ];
    for user in users {
        writer.user(&from::<DumpUser>(user)).unwrap();
    }
    let mut events = Events::new("!elsewhere:other.test");
    let invite = events.state(None, "m.room.member", ALICE, &json!({"membership": "invite"}));
    let room: DumpRoom = from(json!({
        "room_id": "!elsewhere:other.test", "room_version": "10",
        "local_members": [{"user_id": ALICE, "membership": "invite", "event_id": invite.event_id}],
    }));
    let mut file = writer.room(&room).unwrap();
    file.outlier(&invite).unwrap();
    writer.finish_room(file).unwrap();
    write_left_room(&writer);
    let manifest = json!({
        "version": importer::dump::format::VERSION, "server_name": "dump.test", "created_ts": 1_700_000_000_000_u64,
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
    });
    writer.finish(from::<Manifest>(manifest)).unwrap();
    DumpReader::open(directory, |_| {}).unwrap()
}

/// A room that one user has joined and left, and to which another was invited and did not go.
fn write_left_room(writer: &DumpWriter) {
    let mut events = Events::new(LEFT_ROOM);
    let mut states: Vec<DumpState> = Vec::new();
    let mut timeline = Vec::new();
    let mut add = |kind: &str, sender: &str, key: &str, content: Value| {
        let number = u64::try_from(timeline.len()).unwrap();
        let fields = json!({"type": kind, "sender": sender, "state_key": key, "content": content});
        let event = events.state_by((number > 0).then_some(number), fields);
        let base = (number > 0).then_some(number);
        states.push(from(json!({
            "id": number + 1, "base": base, "set": [[kind, key, event.event_id]],
        })));
        timeline.push(event);
    };
    let member = |membership: &str| json!({ "membership": membership });
    add("m.room.create", ALICE, "", json!({"room_version": "10", "creator": ALICE}));
    add("m.room.member", ALICE, ALICE, member("join"));
    add("m.room.member", "@suspended:dump.test", "@suspended:dump.test", member("join"));
    add("m.room.member", ALICE, "@locked:dump.test", member("invite"));
    add("m.room.member", "@suspended:dump.test", "@suspended:dump.test", member("leave"));
    add("m.room.member", "@locked:dump.test", "@locked:dump.test", member("leave"));
    let [_, joined, .., left, declined] = timeline.as_slice() else { panic!() };
    let head: DumpRoom = from(json!({
        "room_id": LEFT_ROOM, "room_version": "10", "current_state": 6, "earlier_events": 0,
        "forward_extremities": [declined.event_id],
        "local_members": [
            {"user_id": ALICE, "membership": "join", "event_id": joined.event_id},
            {"user_id": "@suspended:dump.test", "membership": "leave", "event_id": left.event_id},
            {"user_id": "@locked:dump.test", "membership": "leave", "event_id": declined.event_id},
        ],
    }));
    let mut file = writer.room(&head).unwrap();
    for state in &states {
        file.state(state).unwrap();
    }
    for event in &timeline {
        file.timeline(event).unwrap();
    }
    writer.finish_room(file).unwrap();
}

/// The dump in a database of a server's.
struct Moved {
    scratch: TempDir,
    dump: DumpReader,
    imported: Imported,
}

impl Moved {
    fn to(dialect: Dialect) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dump = dump(&scratch.path().join("dump"));
        let directory = scratch.path().join("database");
        let mut store = store::create(&NewStore {
            directory: &directory,
            backend: Backend::Rocksdb,
            dialect,
            server_name: "dump.test",
        })
        .unwrap();
        let imported = import::import(&dump, store.as_mut(), None, &Progress::Hidden).unwrap();
        drop(store);
        Self { scratch, dump, imported }
    }

    fn open(&self) -> Box<dyn KvRead> {
        store::read(Backend::Rocksdb, &self.scratch.path().join("database")).unwrap()
    }

    /// What verification finds, without notes.
    fn findings(&self) -> Vec<String> {
        let store = self.open();
        let skipped = &self.imported.tally.skipped;
        let how = StateComparison::Sample;
        let against =
            verify::against_dump(store.as_ref(), &self.dump, skipped, how, &Progress::Hidden);
        let structure = verify::structure(store.as_ref(), "dump.test", &Progress::Hidden);
        let all = against.unwrap().findings.into_iter().chain(structure.unwrap().findings);
        let grave = all.filter(|finding| finding.severity != Severity::Note);
        grave.map(|found| format!("{} {}: {}", found.code, found.subject, found.text)).collect()
    }

    fn skipped(&self) -> Vec<(String, &str)> {
        let skipped = self.imported.tally.skipped.iter();
        skipped.map(|skip| (skip.item.clone(), skip.reason.as_str())).collect()
    }
}

/// The rows of Continuwuity's own trees, as they are.
fn rows(store: &dyn KvRead) -> BTreeMap<&'static str, Vec<String>> {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let of_tree = |tree: &'static Tree| {
        let rows = store.scan(tree, &[]).unwrap().map(Result::unwrap);
        rows.map(|(key, value)| format!("{} = {}", shown(&key), shown(&value))).collect::<Vec<_>>()
    };
    let all = trees::CONTINUWUITY.iter().map(|tree| (tree.name, of_tree(tree)));
    all.filter(|(_, rows)| !rows.is_empty()).collect()
}

#[test]
fn what_continuwuity_holds_moves_and_verifies() {
    let moved = Moved::to(Dialect::Continuwuity);
    assert_eq!(moved.findings(), Vec::<String>::new());
    let store = moved.open();
    assert_eq!(store.dialect(), Dialect::Continuwuity);
    insta::assert_json_snapshot!(rows(store.as_ref()));
    let expected = [
        ("ed25519:odd id", "id-invalid"),
        ("email of @alice:dump.test", "value-invalid"),
        ("email of @alice:dump.test", "one-address"),
        ("email of @locked:dump.test", "address-taken"),
        ("msisdn of @alice:dump.test", "not-in-conduit"),
        ("oidc of @alice:dump.test", "not-in-conduit"),
        ("B of @shadow:dump.test", "account-without-rights"),
        ("@waiting:dump.test", "account-without-rights"),
        ("email of @waiting:dump.test", "account-without-rights"),
    ];
    let mut skipped = moved.skipped();
    skipped.retain(|(item, _)| !item.starts_with('$'));
    skipped.sort();
    let mut expected: Vec<_> =
        expected.iter().map(|(item, reason)| ((*item).to_owned(), *reason)).collect();
    expected.sort();
    assert_eq!(skipped, expected);
    let token = |device: &str| {
        let key = [b"@locked:dump.test\xff", device.as_bytes()].concat();
        store.get(&trees::USERDEVICEID_TOKEN, &key).unwrap()
    };
    assert_eq!(token("L"), Some(b"L".to_vec()));
    let left = |user: &str| {
        let key = [user.as_bytes(), LEFT_ROOM.as_bytes()].join(&0xff);
        let row = store.get(&trees::USERROOMID_LEFTSTATE, &key).unwrap().unwrap();
        String::from_utf8(row).unwrap()
    };
    assert!(left("@suspended:dump.test").contains(r#""membership":"leave""#));
    // Who was only invited would be shown what happened meanwhile.
    assert_eq!(left("@locked:dump.test"), "[]");
    for marker in Dialect::Continuwuity.markers() {
        assert_eq!(store.get(&trees::GLOBAL, marker.as_bytes()).unwrap(), Some(Vec::new()));
    }
    assert_eq!(store.get(&trees::GLOBAL, b"version").unwrap(), Some(19_u64.to_be_bytes().to_vec()));
}

#[test]
fn texts_name_the_server_that_is_moved_to() {
    let told = |dialect: Dialect| {
        let moved = Moved::to(dialect);
        let skips = moved.imported.tally.skipped.iter().map(|skip| skip.detail.to_string());
        let store = moved.open();
        let structure = verify::structure(store.as_ref(), "other.test", &Progress::Hidden).unwrap();
        let findings = moved.imported.findings.iter().chain(&structure.findings);
        let findings =
            findings.map(|found| format!("{} {} {}", found.meaning, found.text, found.remedy));
        skips.chain(findings).collect::<Vec<_>>().join("\n")
    };
    let (conduits, own) = (told(Dialect::Conduit), told(Dialect::Continuwuity));
    assert!(conduits.contains("Conduit") && !conduits.contains("Continuwuity"), "{conduits}");
    assert!(own.contains("Continuwuity") && !own.contains("Conduit"), "{own}");
}

/// Commands on a database of Continuwuity's.
#[test]
fn commands_recognise_the_server_and_name_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    drop(dump(&scratch.path().join("dump")));
    let (dump, database, conduits) = (path("dump"), path("database"), path("conduits"));
    let import = ["import", "--dump", &dump, "--database", &database, "--target", "continuwuity"];
    let imported = command::text(&import).unwrap();
    let text = String::from_utf8(imported.stdout).unwrap();
    assert!(text.contains("Start Continuwuity") && !text.contains("Conduit"), "{text}");
    let report = std::fs::read_to_string(path("database.report/report.html")).unwrap();
    assert!(report.contains("From Synapse to Continuwuity") && !report.contains("Conduit"));
    let of_conduit = ["import", "--dump", &dump, "--database", &conduits];
    assert!(command::run(of_conduit).unwrap().json().unwrap()["target"] == "conduit");

    let verify = ["verify", "--dump", &dump, "--database", &database];
    assert_eq!(command::run(verify).unwrap().code, 0);
    let words = ["the database is Continuwuity's", "`--target` says Conduit"];
    command::fails(verify.into_iter().chain(["--target", "conduit"]), 2, &words).unwrap();
    // A configuration is read as Conduit's if nothing else is said.
    let config = path("conduit.toml");
    let settings = format!(
        "[global]\nserver_name = \"dump.test\"\ndatabase_path = {database:?}\ndatabase_backend = \"rocksdb\"\n"
    );
    std::fs::write(&config, settings).unwrap();
    let configured = ["verify", "--dump", &dump, "--conduit-config", &config];
    let words = ["was read as Conduit's", "give `--target continuwuity`"];
    command::fails(configured, 2, &words).unwrap();
    let sqlite = ["--target", "continuwuity", "--backend", "sqlite"];
    let words = ["Continuwuity opens RocksDB only"];
    let new = ["import", "--dump", &dump, "--database", &path("new")];
    command::fails(new.into_iter().chain(sqlite), 2, &words).unwrap();

    let inspect = |more: &[&str]| command::run(["inspect"].iter().chain(more)).unwrap();
    let own = inspect(&["--database", &database, "userid_lock"]);
    assert!(own.code == 0 && own.out.contains("@locked:dump.test"), "{own:?}");
    let all = inspect(&["--database", &database]);
    assert!(all.out.contains("\"tree\":\"localpart_email\""), "{}", all.out);
    let words = ["Conduit has no tree `userid_lock`"];
    inspect(&["--database", &conduits, "userid_lock"]).failed(1, &words).unwrap();
    let both = inspect(&["--diff", &conduits, &database]);
    assert_eq!(both.code, 1);
    assert!(both.err.contains("the databases are Conduit's and Continuwuity's"), "{}", both.err);
    assert!(!both.out.contains("userid_lock") && both.out.contains("global"), "{}", both.out);
}

#[test]
fn conduit_gets_none_of_it() {
    let moved = Moved::to(Dialect::Conduit);
    assert_eq!(moved.findings(), Vec::<String>::new());
    let store = moved.open();
    assert_eq!(store.dialect(), Dialect::Conduit);
    assert_eq!(rows(store.as_ref()), BTreeMap::new());
    assert_eq!(store.foreign_trees().unwrap(), Vec::<String>::new());
    assert!(moved.skipped().len() > 5, "{:?}", moved.skipped());
}

/// A row that is changed, what it becomes, and what is found then.
type Damage = (&'static Tree, &'static [u8], Option<&'static [u8]>, &'static str);

#[test]
fn each_difference_in_its_own_trees_is_found() {
    let moved = Moved::to(Dialect::Continuwuity);
    let path = moved.scratch.path().join("database");
    let damages: [Damage; 15] = [
        (&trees::USERID_LOCK, b"@locked:dump.test", None, "@locked:dump.test: is locked in one"),
        (&trees::USERID_SUSPENSION, ALICE.as_bytes(), Some(b"{}"), "is suspended in one"),
        (&trees::USERID_DEACTIVATED, b"@gone:dump.test", None, "is deactivated in one"),
        (
            &trees::USERID_DEACTIVATED,
            b"@extra:dump.test",
            Some(b""),
            "has a row in `userid_deactivated`",
        ),
        (
            &trees::USERIDPROFILEKEY_VALUE,
            b"@alice:dump.test\xffm.tz",
            Some(b"\"UTC\""),
            "profile field m.tz of @alice:dump.test: differs",
        ),
        (&trees::LOCALPART_EMAIL, b"alice", None, "the e-mail address is missing"),
        (&trees::LOCALPART_EMAIL, b"locked", Some(b"a@dump.test"), "belongs to another account"),
        (
            &trees::EMAIL_LOCALPART,
            b"c@dump.test",
            Some(b"nobody"),
            "has an e-mail address, and is not in the dump",
        ),
        (
            &trees::FALLBACKKEYID_FALLBACKKEY,
            b"@alice:dump.test\xffPHONE\xffsigned_curve25519",
            None,
            "fallback key signed_curve25519 of PHONE of @alice:dump.test: is missing",
        ),
        (
            &trees::USERDEVICEID_TOKENEXPIRES,
            b"@alice:dump.test\xffENDS",
            None,
            "when its access token expires differs",
        ),
        (
            &trees::PUSHKEY_DEVICEID,
            b"key",
            Some(b"OTHER"),
            "is named by a pusher that is not its own",
        ),
        (&trees::SERVER_SIGNINGKEYS, b"dump.test", None, "the earlier signing keys differ"),
        (
            &trees::USERROOMID_INVITESENDER,
            b"@alice:dump.test\xff!elsewhere:other.test",
            None,
            "the sender of the invite differs",
        ),
        (
            &trees::USERROOMID_LEFTSTATE,
            b"@locked:dump.test\xff!left:dump.test",
            Some(b"{}"),
            "the event by which it was left differs",
        ),
        (&trees::DISABLEDROOMIDS, b"!blocked:dump.test", None, "is not blocked"),
    ];
    for (tree, key, value, expected) in damages {
        let change = |value: Option<Vec<u8>>| {
            let mut store = store::change(Backend::Rocksdb, &path).unwrap();
            let changes: Changes = [((tree, key.to_vec()), value)].into();
            store.commit(changes).unwrap();
        };
        let before = moved.open().get(tree, key).unwrap();
        change(value.map(<[u8]>::to_vec));
        let found = moved.findings();
        assert!(found.iter().any(|found| found.contains(expected)), "{tree}: {found:?}");
        change(before);
    }
    assert_eq!(moved.findings(), Vec::<String>::new());
}
