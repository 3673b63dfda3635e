mod continuwuity;

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    DatabaseFacts, MediaFacts, Outcome, Report, RoomFacts, Todo, TreeFacts, UserFacts, Verdict,
    beside, left_out,
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{
        DumpReader, DumpWriter,
        format::{DumpEvent, Manifest},
    },
    findings::codes,
    tally::{Kind, Tally},
};

const HOSTILE: &str = "</title><script>alert('&\"')</script>";

fn from<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// A dump of two users and `rooms` rooms, the first of which was left out.
fn dump(directory: &std::path::Path, users: usize, rooms: usize) -> DumpReader {
    let writer = DumpWriter::create(directory).unwrap();
    let key = json!({"version": "a", "seed": "planted-secret"});
    writer
        .server(&from(json!({
            "server_name": "own.test", "signing_key": key, "password_pepper": "planted-secret",
            "appservices": [{"id": "bridge", "registration": "planted-secret"}],
        })))
        .unwrap();
    for number in 0..users {
        writer
            .user(&from(json!({
                "user_id": format!("@user{number:04}:own.test"),
                "admin": number == 0,
                "locked": number == 1,
                "password_hash": "planted-secret",
                "profile": {"displayname": if number == 0 { HOSTILE.to_owned() } else { format!("User number {number}") }},
                "devices": [
                    {"device_id": "A of B", "access_tokens": [{"token": "planted-secret"}]},
                    {"device_id": "C", "access_tokens": [{"token": "planted-secret"}, {"token": "planted-secret"}]},
                ],
            })))
            .unwrap();
    }
    for number in 0..rooms {
        let member = |user: usize, membership: &str| json!({"user_id": format!("@user{user:04}:own.test"), "membership": membership, "event_id": "$m"});
        let head = json!({
            "room_id": format!("!room{number:04}:own.test"),
            "room_version": if number == 0 { "1".to_owned() } else { ["3", "4", "10", "11"][number % 4].to_owned() },
            "current_state": 3,
            "aliases": [{"alias": format!("#alias{number}:own.test")}],
            "local_members": [member(0, "join"), member(1, "leave")],
        });
        let mut file = writer.room(&from(head)).unwrap();
        let name = |id: &str| json!(["m.room.name", "", id]);
        for state in [
            json!({"id": 1, "set": [["m.room.create", "", "$create"], name("$old"), ["m.room.topic", "", "$topic"]]}),
            json!({"id": 2, "base": 1, "set": [["m.room.member", "@x:own.test", "$m"]]}),
            json!({"id": 3, "base": 1, "set": [name("$name")], "unset": [["m.room.topic", ""]]}),
        ] {
            file.state(&from(state)).unwrap();
        }
        for (id, name) in [("$old", "Old name"), ("$name", if number == 0 { HOSTILE } else { "" })]
        {
            let pdu = json!({"type": "m.room.name", "content": {"name": name}});
            file.timeline(&from::<DumpEvent>(
                json!({"event_id": id, "state_before": 1, "pdu": pdu}),
            ))
            .unwrap();
        }
        writer.finish_room(file).unwrap();
    }
    let mut media = writer.media(&from(json!({}))).unwrap();
    for (id, more) in [
        ("a", json!({"path": "a", "bytes": 5, "uploader": "@user0000:own.test"})),
        ("b", json!({"path": "b", "uploader": "@user0000:own.test"})),
        // Without its file; of nobody.
        ("c", json!({"bytes": 7, "uploader": "@user0001:own.test", "quarantined_by": "x"})),
        ("d", json!({"path": "d", "bytes": 9})),
    ] {
        let mut record = json!({"server": "own.test", "media_id": id, "created_ts": 1});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        media.record(&from(record)).unwrap();
    }
    writer.finish_media(media).unwrap();
    let manifest: Manifest = from(json!({
        "version": crate::dump::format::VERSION, "server_name": "own.test", "created_ts": 1_700_000_000_000_u64,
        "source": {"kind": "sqlite", "schema_version": 94},
        "tally": {"read": {"user": users, "thumbnail": 23}, "written": {"user": users}, "skipped": [
            {"kind": "thumbnail", "item": "all", "reason": "made-anew", "detail": "they are made anew", "number": 23},
        ]},
        "files": [],
    }));
    writer.finish(manifest).unwrap();
    DumpReader::open(directory, |_| {}).unwrap()
}

/// All that a list says.
fn words(list: &[Todo]) -> String {
    let lines = list.iter().flat_map(|todo| [&todo.text].into_iter().chain(&todo.commands));
    lines.map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn report(dump: &DumpReader, complete: bool) -> Report {
    report_for(Dialect::Conduit, dump, complete)
}

fn report_for(target: Dialect, dump: &DumpReader, complete: bool) -> Report {
    let mut imported = Tally::default();
    imported.read(Kind::User, u64::try_from(dump.number_of_users()).unwrap());
    imported.written(Kind::User, u64::try_from(dump.number_of_users()).unwrap());
    imported.written(Kind::PasswordHash, 1);
    imported.skip(Kind::Room, "!room0000:own.test", "room-version-unsupported", HOSTILE);
    imported.skip(Kind::AccessToken, "C of @user0000:own.test", "older-token", "one for each");
    imported.skip(
        Kind::AccessToken,
        "A of B of @user0001:own.test",
        "account-without-rights",
        "it may not act",
    );
    imported.skip(Kind::Pusher, "a pusher", "not-in-conduit", "Conduit has no place for it");
    imported.skip(Kind::Appservice, "bridge", "registration-regex", "it has a wrong pattern");
    target.reword_skips(&mut imported.skipped);
    let mut findings = vec![
        codes::ROOM_VERSION.of("!room0000:own.test", format!("{HOSTILE}, version 1")),
        codes::NO_PASSWORD.of("@user0000:own.test", "has no password"),
        codes::PASSWORDS.of("own.test", "2 passwords"),
        codes::ADMIN_ROOM_MISSING.of("own.test", "has no row; Conduit refuses to start"),
    ];
    target.reword(&mut findings);
    let trees = [("pduid_pdu", 5_000_000), ("userid_password", 20)];
    let outcome = Outcome {
        target,
        database: DatabaseFacts {
            directory: "/var/lib/conduit".into(),
            backend: "rocksdb".into(),
            version: target.version(),
            complete,
            trees: trees
                .into_iter()
                .map(|(tree, bytes)| (tree, TreeFacts { rows: 2, bytes }))
                .collect(),
        },
        media: MediaFacts {
            directory: "/var/lib/conduit/media".into(),
            uploaded: false,
            prepared: 0,
        },
        listen: Some("127.0.0.1:6167".parse().unwrap()),
        imported: &imported,
        findings: &findings,
        steps: &[("check", 0.21), ("dump", 12.5), ("import", 30.0)],
        made_ts: 1_700_000_060_000,
        program: "/usr/local/bin/importer",
        synapse_config: &[],
        map_path: &[],
        signing_key: None,
    };
    Report::of(dump, outcome).unwrap()
}

#[test]
fn tables_say_what_the_dump_holds_and_what_moved() {
    let scratch = tempfile::tempdir().unwrap();
    let report = report(&dump(&scratch.path().join("dump"), 2, 2), true);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["rooms"],
        json!([
            {"room_id": "!room0000:own.test", "name": HOSTILE, "version": "1", "joined": 1, "events": 2, "unbegun_threads": 0, "state": 2, "left_out": HOSTILE},
            {"room_id": "!room0001:own.test", "name": "#alias1:own.test", "version": "4", "joined": 1, "events": 2, "unbegun_threads": 0, "state": 2},
        ])
    );
    assert_eq!(
        json["users"],
        json!([
            {"user_id": "@user0000:own.test", "name": HOSTILE, "devices": 2, "tokens": 3, "tokens_moved": 2, "rooms": 2, "files": 2, "file_bytes": 5, "flags": ["administrator"]},
            {"user_id": "@user0001:own.test", "name": "User number 1", "devices": 2, "tokens": 3, "tokens_moved": 2, "rooms": 0, "files": 0, "file_bytes": 0, "flags": ["locked"]},
        ])
    );
    assert_eq!(
        json["kinds"][0],
        json!({"kind": "user", "read_from_synapse": 2, "dumped": 2, "read_from_dump": 2, "written": 2, "left_out": 0})
    );
    let left_out = json["kinds"].as_array().unwrap().iter().map(|facts| &facts["left_out"]);
    // Passwords, tokens, rooms, thumbnails; the latter are told together.
    assert_eq!(left_out.collect::<Vec<_>>(), [0, 0, 2, 1, 1, 1, 23]);
    let todo = words(&report.todo);
    assert!(todo.contains("\n1 room stayed behind"), "{todo}");
    // The user is the one that this machine has.
    assert!(todo.contains("\nchown -R ") && todo.contains(": /var/lib/conduit\n"), "{todo}");
}

#[test]
fn the_page_says_first_how_it_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 2, 2);
    let mut some = report(&dump, true);
    assert_eq!(some.verdict, Verdict::SomethingMissing);
    assert_eq!(some.headline, "Moved. 1 room stays behind.");
    let page = super::html::page(&some);
    for told in [
        "Moved. 1 room stays behind.",
        "2023-11-14 22:14 UTC, in 43 s",
        // The card leads to the room that is left out.
        "<a href=\"#behind-room\"><b>1</b> of 2</a>",
        "id=\"behind-room\"",
        // What comes again is told apart, with what it is called.
        "<b>23 thumbnails</b>: Conduit generates them again when they are requested",
        " href=\"#unmissed-thumbnail\">23</a>",
        "<pre><code>/usr/local/bin/importer proxy-config --for nginx</code></pre>",
        "href=\"left-out.csv\"",
    ] {
        assert!(page.contains(told), "{told}");
    }
    for ours in ["pduid_pdu", "made-anew", "room-version-unsupported", "timeline event", " · "] {
        assert!(!page.contains(ours), "{ours}");
    }

    sample("some", &some);
    for skips in [&mut some.left_out_by_dump, &mut some.left_out_by_import] {
        skips.retain(|skip| !skip.is_missed());
    }
    (some.verdict, some.headline) = some.judge();
    assert_eq!(
        (some.verdict, &*some.headline),
        (Verdict::NothingMissing, "Moved. Nothing is missing.")
    );
    assert!(!super::html::page(&some).contains("What stays behind"));
    // Rows that are no items.
    let mut rows = some.clone();
    rows.findings.push(codes::OWNERS.of("table", "2 rows"));
    let (verdict, headline) = rows.judge();
    assert_eq!(verdict, Verdict::SomethingMissing);
    assert_eq!(headline, "Moved. Some rows of Synapse's tables stay behind.");
    sample("all", &some);
    let none = report(&dump, false);
    assert_eq!(none.verdict, Verdict::NotComplete);
    let page = super::html::page(&none);
    assert!(page.contains("Not moved. Don't start Conduit on it."));
    assert!(!page.contains("What people will notice"));
    sample("none", &none);
}

/// For a look in a browser: `REPORT_SAMPLE=DIR cargo nextest run --workspace -E 'test(report::)'`.
fn sample(name: &str, report: &Report) {
    if let Some(directory) = std::env::var_os("REPORT_SAMPLE") {
        let directory = std::path::Path::new(&directory).join(name);
        report.prepare(&directory).unwrap().finish().unwrap();
    }
}

/// What moved and what was left out is what there was.
#[test]
fn the_columns_of_what_moved_add_up() {
    let scratch = tempfile::tempdir().unwrap();
    let report = report(&dump(&scratch.path().join("dump"), 2, 2), true);
    for facts in &report.kinds {
        let skips = report.left_out_by_dump.iter().chain(&report.left_out_by_import);
        let left: u64 = skips.filter(|skip| skip.kind == facts.kind).map(|skip| skip.number).sum();
        assert_eq!(facts.left_out, left, "{facts:?}");
    }
    let page = super::html::page(&report);
    let row = page.split("<tr>").find(|row| row.contains(">thumbnails<")).unwrap();
    let cells: Vec<_> =
        row.split("<td").skip(1).map(|cell| cell.split(['<', '>']).collect::<Vec<_>>()).collect();
    assert!(
        cells[0].contains(&"0") && cells[1].contains(&"23") && cells[2].contains(&"23"),
        "{row}"
    );
}

/// What is in Synapse only is not to be deleted.
#[test]
fn history_that_is_left_for_later_is_told_and_how_to_fetch_it() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 2, 4);
    let rooms = |older: &[(u64, Option<u64>)]| {
        let facts = |&(joined, older): &(u64, Option<u64>)| RoomFacts {
            room_id: "!a:own.test".into(),
            name: None,
            version: None,
            joined,
            events: 1,
            older,
            unbegun_threads: older.unwrap_or(0),
            state: 1,
            left_out: None,
        };
        older.iter().map(facts).collect::<Vec<_>>()
    };
    let imported = Tally::default();
    let mapped = ["--map-path /data=/srv/data".to_owned()];
    let listed = |older: &[(u64, Option<u64>)], port: u16| {
        let later = super::Later::of(&rooms(older), true);
        let outcome = Outcome {
            target: Dialect::Conduit,
            database: report(&dump, true).database,
            media: MediaFacts { directory: "/srv/media".into(), uploaded: false, prepared: 0 },
            listen: Some(([127, 0, 0, 1], port).into()),
            imported: &imported,
            findings: &[],
            steps: &[],
            made_ts: 1_700_000_060_000,
            program: "/usr/local/bin/importer",
            synapse_config: &[],
            map_path: &mapped,
            signing_key: Some("/srv/signing.key".as_ref()),
        };
        words(&super::next_steps::list(&outcome, "/dump".as_ref(), &later))
    };
    let list = |older: &[(u64, Option<u64>)]| listed(older, 6167);
    // The old Synapse does not answer where people look for Conduit, and is found where it is.
    for (port, listen, address) in
        [(6167, "", "127.0.0.1:8008"), (8008, " --listen 127.0.0.1:8009", "127.0.0.1:8009")]
    {
        let said = listed(&[(1, Some(7))], port);
        for wanted in [
            format!(
                "quiet-config{listen} --synapse-config CONFIG --map-path /data=/srv/data > quiet.yaml"
            ),
            format!("--homeserver http://{address} --signing-key /srv/signing.key"),
        ] {
            assert!(said.contains(&wanted), "{wanted}: {said}");
        }
    }
    let whole = list(&[(1, Some(0))]);
    assert!(!whole.contains("older") && whole.contains("then delete both"), "{whole}");
    let some = list(&[(1, Some(3)), (2, Some(4)), (1, Some(0))]);
    for told in [
        "7 older events of 2 rooms",
        "importer backfill",
        "quiet-config",
        "only copy",
        "replies in 7 threads with an error (400)",
        "until all of that history has been fetched",
    ] {
        assert!(some.contains(told), "{told}: {some}");
    }
    let left = list(&[(0, Some(5))]);
    assert!(left.contains("5 older events of 1 room can't be fetched later"), "{left}");
    assert!(left.contains("--history full") && left.contains("only copy"), "{left}");
    // The APIs don't say how much there is.
    let unknown = list(&[(1, None)]);
    assert!(unknown.contains("events older than each room's newest ones"), "{unknown}");
    assert!(!unknown.contains("thread"), "{unknown}");
}

/// Each step that an operator must not forget.
#[test]
fn the_list_names_the_rule_for_the_proxy() {
    let scratch = tempfile::tempdir().unwrap();
    let report = report(&dump(&scratch.path().join("dump"), 1, 1), true);
    let todo = words(&report.todo);
    let told = |words: &str| todo.contains(words);
    assert!(told("importer proxy-config --for nginx") && told("a year"), "{:?}", report.todo);
}

#[test]
fn the_list_says_where_things_are_on_this_machine() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 1, 1);
    let imported = Tally::default();
    let list = |directory: &str, uploaded: bool, port: u16| {
        let outcome = Outcome {
            target: Dialect::Conduit,
            database: report(&dump, true).database,
            media: MediaFacts { directory: directory.into(), uploaded, prepared: 0 },
            listen: Some(([127, 0, 0, 1], port).into()),
            imported: &imported,
            findings: &[],
            steps: &[],
            made_ts: 1_700_000_060_000,
            program: "/usr/local/bin/importer",
            synapse_config: &[],
            map_path: &[],
            signing_key: None,
        };
        words(&super::next_steps::list(&outcome, "/dump".as_ref(), &super::Later::default()))
    };
    let inside = list("/var/lib/conduit/media", false, 6167);
    assert!(inside.contains(": /var/lib/conduit\n") && !inside.contains("--upstream"), "{inside}");
    let beside = list("/srv/my media", false, 8008);
    assert!(beside.contains(": /var/lib/conduit '/srv/my media'\n"), "{beside}");
    assert!(
        beside.contains("/bin/importer proxy-config --for nginx --upstream 127.0.0.1:8008\n"),
        "{beside}"
    );
    let bucket = list("/srv/bucket", true, 6167);
    assert!(
        bucket.contains(": /var/lib/conduit\n")
            && bucket.contains("Upload what is in `/srv/bucket`"),
        "{bucket}"
    );
    let passwd = "root:x:0:0::/root:/bin/sh\nconduits:x:1:1::/:/bin/sh\n";
    assert_eq!(super::next_steps::user(Dialect::Conduit, passwd), None);
    let passwd = format!("{passwd}_matrix-conduit:x:990:990::/var/lib/matrix-conduit:/bin/false\n");
    assert_eq!(super::next_steps::user(Dialect::Conduit, &passwd), Some("_matrix-conduit"));
}

#[test]
fn the_list_starts_the_unit_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let commands = || super::next_steps::start(Dialect::Conduit, root.path()).commands;
    assert_eq!(commands(), [""; 0]);
    let library = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&library).unwrap();
    fs::write(library.join("matrix-conduit.service"), "").unwrap();
    let start = ["systemctl enable --now matrix-conduit", "journalctl -u matrix-conduit -f"];
    assert_eq!(commands(), start);
    // As `systemctl mask` leaves it.
    let etc = root.path().join("etc/systemd/system");
    fs::create_dir_all(&etc).unwrap();
    std::os::unix::fs::symlink("/dev/null", etc.join("matrix-conduit.service")).unwrap();
    assert_eq!(commands(), ["systemctl unmask matrix-conduit", start[0], start[1]]);
}

#[test]
fn a_database_that_did_not_pass_is_not_to_be_started() {
    let scratch = tempfile::tempdir().unwrap();
    let report = report(&dump(&scratch.path().join("dump"), 1, 1), false);
    assert!(report.todo[0].text.starts_with("Don't start Conduit"), "{:?}", report.todo);
    assert!(report.todo[0].text.contains("/var/lib/conduit.partial"), "{:?}", report.todo);
    assert!(super::html::page(&report).contains("Not moved."));
}

#[test]
fn files_are_their_owners_and_hold_no_secret_and_no_foreign_markup() {
    let scratch = tempfile::tempdir().unwrap();
    let report = report(&dump(&scratch.path().join("dump"), 2, 2), true);
    let directory = beside(&scratch.path().join("conduit"));
    assert_eq!(directory, scratch.path().join("conduit.report"));
    report.prepare(&directory).unwrap().finish().unwrap();
    report.prepare(&directory).unwrap().finish().unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let all = ["left-out.csv", "report.html", "report.json", "rooms.csv", "users.csv"];
    assert_eq!(names, all);
    for name in all {
        assert_eq!(mode(&directory.join(name)), 0o600);
        let text = fs::read_to_string(directory.join(name)).unwrap();
        assert!(!text.contains("planted-secret"), "{name}");
    }
    let html = fs::read_to_string(directory.join("report.html")).unwrap();
    assert_eq!(html.matches("<script").count(), 0);
    assert!(html.contains("&lt;script&gt;alert"));
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(!html.contains(" style="), "the policy forbids style attributes");
}

/// Names are other people's words, and a spreadsheet must take none for a formula.
#[test]
fn tables_for_spreadsheets_are_well_formed() {
    let scratch = tempfile::tempdir().unwrap();
    let mut report = report(&dump(&scratch.path().join("dump"), 2, 2), true);
    report.rooms[1].name = Some("=HYPERLINK(\"http://evil.test\",\"a\nb\")".into());
    report.users[1].name = Some("-1+1".into());
    let directory = scratch.path().join("report");
    report.prepare(&directory).unwrap().finish().unwrap();
    let read = |name: &str| records(&fs::read_to_string(directory.join(name)).unwrap());
    let rooms = read("rooms.csv");
    assert_eq!(rooms[0][..3], ["room_id", "name", "version"]);
    assert_eq!(rooms[1][1], HOSTILE);
    assert_eq!(rooms[1][7..], ["no", HOSTILE]);
    assert_eq!(rooms[2][1], "'=HYPERLINK(\"http://evil.test\",\"a\nb\")");
    assert_eq!(rooms[2][7..], ["yes", ""]);
    let users = read("users.csv");
    assert_eq!(users[1][..2], ["'@user0000:own.test", HOSTILE]);
    assert_eq!(users[2][1], "'-1+1");
    let left = read("left-out.csv");
    assert_eq!(left.len(), 1 + 6);
    assert_eq!(
        left[1],
        ["dump", "thumbnail", "all", "23", "made-anew", "they are made anew", "no"]
    );
    for table in [rooms, users, left] {
        assert!(table.iter().all(|row| row.len() == table[0].len()), "{table:?}");
    }
}

/// A reader of RFC 4180, as strict as it is.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        if letters.peek() == Some(&'"') {
            letters.next();
            loop {
                match letters.next().unwrap() {
                    '"' if letters.peek() == Some(&'"') => field.extend(letters.next()),
                    '"' => break,
                    letter => field.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| !",\r\n\"".contains(*letter)) {
                field.push(letter);
            }
        }
        record.push(std::mem::take(&mut field));
        match letters.next().unwrap() {
            ',' => {}
            '\r' => {
                assert_eq!(letters.next(), Some('\n'));
                records.push(std::mem::take(&mut record));
            }
            other => panic!("{other:?} after a field"),
        }
    }
    assert!(record.is_empty());
    records
}

#[test]
fn verify_learns_what_this_dumps_import_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 1, 1);
    let report = report(&dump, true);
    let directory = scratch.path().join("report");
    assert_eq!(left_out(&directory, dump.manifest()), None);
    report.prepare(&directory).unwrap().finish().unwrap();
    assert_eq!(left_out(&directory, dump.manifest()), Some(report.left_out_by_import));
    let mut other = dump.manifest().clone();
    other.created_ts += 1;
    assert_eq!(left_out(&directory, &other), None);
}

#[test]
fn a_large_report_stays_small_enough_for_a_browser() {
    let scratch = tempfile::tempdir().unwrap();
    let mut report = report(&dump(&scratch.path().join("dump"), 2, 2), true);
    let (user, room) = (report.users[1].clone(), report.rooms[1].clone());
    report.users.extend((2..5000).map(|number| UserFacts {
        user_id: format!("@user{number:04}:own.test"),
        rooms: number,
        ..user.clone()
    }));
    report.rooms.extend((2..2000).map(|number| RoomFacts {
        room_id: format!("!room{number:04}:own.test"),
        events: number,
        ..room.clone()
    }));
    sample("large", &report);
    let bytes = super::html::page(&report).len();
    assert!((200_000..1_500_000).contains(&bytes), "{bytes}");
}
