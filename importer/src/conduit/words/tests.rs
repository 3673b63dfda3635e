use std::{fs, path::Path};

use super::continuwuity::{CODES, OTHERS};
use crate::{
    conduit::schema::dialect::Dialect,
    findings::{
        Finding,
        codes::{self, CHECKS, IMPORT, VERIFICATION},
    },
    tally::{Kind, Tally, reasons},
};

/// Codes about the program of a Conduit that is installed, for which nobody looks if another server is moved to.
const OF_CONDUIT_ALONE: [&str; 4] = ["C530", "C531", "C532", "C533"];

#[test]
fn no_text_names_conduit_if_continuwuity_is_moved_to() {
    let codes = CHECKS.iter().chain(IMPORT).chain(VERIFICATION);
    let codes = codes.filter(|code| !OF_CONDUIT_ALONE.contains(&code.code));
    let texts = codes.flat_map(|code| [code.meaning, code.remedy]).chain(reasons());
    let own: Vec<_> = texts.map(|text| (text, Dialect::Continuwuity.words(text))).collect();
    assert!(own.len() > 400, "{}", own.len());
    for (text, own) in own {
        assert!(!own.contains("Conduit"), "{own}");
        assert_eq!(Dialect::Conduit.words(text), text);
    }
}

#[test]
fn texts_of_its_own_stand_for_some_of_conduits() {
    for (code, meaning, remedy) in CODES {
        assert!(!meaning.is_empty() || !remedy.is_empty(), "{}", code.code);
        assert!(
            code.meaning != *meaning && (remedy.is_empty() || code.remedy != *remedy),
            "{}",
            code.code
        );
        assert_eq!(CODES.iter().filter(|(other, ..)| other.code == code.code).count(), 1);
    }
    for (of_conduit, _) in OTHERS {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = [
            "check/accounts.rs",
            "import/users/account.rs",
            "synapse/database/census/tables/staying.rs",
        ];
        let stands =
            |file: &&&str| fs::read_to_string(source.join(file)).unwrap().contains(of_conduit);
        assert_eq!(files.iter().filter(stands).count(), 1, "{of_conduit}");
    }
}

#[test]
fn names_are_replaced_outside_of_code() {
    let words = |text| Dialect::Continuwuity.words(text);
    assert_eq!(
        words("a stock Conduit can't; use `Conduit` or `reset-password` in Conduit's admin room"),
        "Continuwuity can't; use `Conduit` or `!admin users reset-password` in Continuwuity's admin room"
    );
    assert_eq!(
        words("`register-appservice` of a Conduit"),
        "`!admin appservices register` of Continuwuity"
    );
}

#[test]
fn users_words_stay() {
    let room = |text: &str| codes::ROOM_VERSION.of("Conduit fans", text.to_owned());
    let mut findings =
        vec![room("\"Conduit\", version 1"), codes::TREE_UNKNOWN.of("Conduit", "Conduit knows it")];
    Dialect::Continuwuity.reword(&mut findings);
    let told: Vec<_> =
        findings.iter().map(|Finding { subject, text, .. }| (&**subject, &**text)).collect();
    assert_eq!(
        told,
        [("Conduit fans", "\"Conduit\", version 1"), ("Conduit", "Continuwuity knows it")]
    );
    assert_eq!(findings[1].meaning, "a tree that Continuwuity does not know");
    let mut tally = Tally::default();
    tally.skip(Kind::Room, "Conduit", "x", "Conduit has none");
    tally.skip(Kind::Room, "Conduit", "x", "its name is Conduit".to_owned());
    Dialect::Continuwuity.reword_skips(&mut tally.skipped);
    let told: Vec<_> = tally.skipped.iter().map(|skip| (&*skip.item, &*skip.detail)).collect();
    assert_eq!(told, [("Conduit", "Continuwuity has none"), ("Conduit", "its name is Conduit")]);
}

/// A text that is made for an item is not reworded, so it must not name Conduit itself.
#[test]
fn texts_that_are_made_for_an_item_name_no_server() {
    let mut made = Vec::new();
    for folder in ["check", "import", "verify"] {
        texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder), &mut made);
    }
    let of_conduit =
        |text: &&String| text.contains("Conduit") && !text.starts_with("Dialect::Conduit");
    // The program of a Conduit, for which nobody looks if another server is moved to.
    let is_program = |text: &&String| text.contains("it is not Conduit");
    let left: Vec<_> = made.iter().filter(of_conduit).filter(|text| !is_program(text)).collect();
    assert!(made.len() > 150, "{}", made.len());
    assert_eq!(left, [""; 0]);
}

/// What is given to `format!`, and what stands before it on its line.
fn texts(folder: &Path, made: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, made);
        } else if !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            for (before, after) in
                text.match_indices("format!(").map(|(place, _)| text.split_at(place))
            {
                let line = before.rsplit('\n').next().unwrap().trim_start();
                let arguments = after.split(");").next().unwrap();
                let literal = arguments.split('"').nth(1).unwrap_or_default();
                made.push(format!("{line}{literal}"));
            }
        }
    }
}
