//! A report on a move to Continuwuity.

use std::fs;

use super::{dump, report_for, words};
use crate::{
    conduit::schema::dialect::Dialect,
    report::{html, next_steps},
};

/// All texts of a page, without its tags and its style.
fn shown(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let texts = body.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| text.trim());
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_report_on_continuwuity_says_what_is_so_there() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 2, 2);
    let mut report = report_for(Dialect::Continuwuity, &dump, true);
    let directory = scratch.path().join("report");
    report.prepare(&directory).unwrap().finish().unwrap();
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("Conduit"), "{}: {text}", path.display());
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["target"], "continuwuity");
    // Who owns the files depends on the machine.
    report.todo.retain(|todo| !todo.text.contains("Change the owner"));
    report.dump.directory = "/dump".into();
    let place = scratch.path().display().to_string();
    let text = words(&report.todo).replace(&place, "DIR");
    insta::assert_snapshot!("todo", text);
    insta::assert_snapshot!("page", shown(&html::page(&report)).replace(&place, "DIR"));
    let not = report_for(Dialect::Continuwuity, &dump, false);
    assert_eq!(not.headline, "Not moved. Don't start Continuwuity on it.");
    assert!(!words(&not.todo).contains("Conduit"), "{:?}", not.todo);
}

#[test]
fn users_words_stay_in_a_report_on_continuwuity() {
    let scratch = tempfile::tempdir().unwrap();
    let dump = dump(&scratch.path().join("dump"), 2, 2);
    let mut report = report_for(Dialect::Continuwuity, &dump, true);
    report.rooms[1].name = Some("Conduit fans".into());
    report.users[1].name = Some("Conduit".into());
    let page = html::page(&report);
    assert!(page.contains("Conduit fans"));
    assert_eq!(page.matches("Conduit").count(), 2);
}

#[test]
fn units_and_users_are_continuwuitys() {
    let root = tempfile::tempdir().unwrap();
    let library = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&library).unwrap();
    for unit in ["conduit", "conduwuit"] {
        fs::write(library.join(format!("{unit}.service")), "").unwrap();
    }
    let start = next_steps::start(Dialect::Continuwuity, root.path());
    assert_eq!(start.text, "Start Continuwuity, and look at its log and at your rooms.");
    assert_eq!(start.commands, ["systemctl enable --now conduwuit", "journalctl -u conduwuit -f"]);
    let user = |passwd| next_steps::user(Dialect::Continuwuity, passwd);
    assert_eq!(user("conduit:x:1:1::/:/bin/sh\n"), None);
    assert_eq!(user("continuwuity:x:1:1::/:/bin/sh\n"), Some("continuwuity"));
}
