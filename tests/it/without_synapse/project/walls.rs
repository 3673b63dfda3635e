//! Which folder of the importer may know which: the arrows that must not be there. Files of tests may know everything.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The ground, which knows nobody above it.
const GROUND: [&str; 6] = ["counted", "findings", "fs", "progress", "size", "tally"];
/// All that is above the ground.
const ABOVE: [&str; 12] = [
    "backfill", "check", "cli", "conduit", "drain", "dump", "import", "proxy", "report", "source",
    "synapse", "verify",
];
/// A folder, and those that it must not know.
const WALLS: [(&str, &[&str]); 9] = [
    ("backfill", &["cli", "check", "report"]),
    ("check", &["cli", "import", "verify", "report"]),
    ("conduit", &["cli", "synapse", "source", "dump", "import", "verify", "check"]),
    ("drain", &["cli", "import", "source", "synapse"]),
    ("dump", &["cli", "synapse", "source", "conduit", "import", "verify", "check"]),
    ("import", &["cli", "synapse", "source", "verify", "check", "report"]),
    ("source", &["cli", "synapse", "conduit", "import", "verify", "check", "report"]),
    ("synapse", &["cli", "conduit", "import", "verify", "check", "report"]),
    ("verify", &["cli", "synapse", "source", "import", "check", "report"]),
];

#[test]
fn no_folder_knows_what_it_must_not() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../importer/src");
    let mut files = Vec::new();
    below(&source, &mut files);
    let mut broken = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&source).unwrap();
        let folder = name.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let ground: &[&str] = if GROUND.contains(&folder) { &ABOVE } else { &[] };
        let walls = WALLS.iter().find(|(of, _)| *of == folder).map_or(ground, |(_, walls)| walls);
        let text = fs::read_to_string(file).unwrap();
        let known = known(&text);
        for wall in walls.iter().filter(|wall| known.contains(**wall)) {
            broken.push(format!("{} must not know `{wall}`", name.display()));
        }
    }
    assert!(files.len() > 200, "only {} files", files.len());
    assert_eq!(broken, [""; 0]);
}

/// Files of the program itself.
fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if ["tests", "testing"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            below(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The first names of all paths that begin with `crate::`, comments and tests apart.
fn known(text: &str) -> BTreeSet<String> {
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines: Vec<_> =
        program.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let program = lines.join("\n");
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let first =
        |path: &str| path.trim_start().split(|letter| !is_name(letter)).next().unwrap().to_owned();
    let mut names = BTreeSet::new();
    for path in program.split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            names.insert(first(path));
            continue;
        };
        let mut depth = 1_u32;
        let mut begins = true;
        for (place, letter) in group.char_indices() {
            match letter {
                '{' => depth = depth.saturating_add(1),
                '}' => depth = depth.saturating_sub(1),
                _ if begins && depth == 1 && is_name(letter) => {
                    names.extend(group.get(place..).map(first));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            begins = letter == ',' || begins && letter.is_whitespace();
        }
    }
    names
}

#[test]
fn names_are_found_in_groups_and_alone() {
    let text = "use crate::{\n    dump::{Dump, format::Size},\n    tally::Tally,\n};\n// crate::cli\nfn f() { crate::media::hash() }\n\
                #[cfg(test)]\nmod tests {\n use crate::verify; }";
    assert_eq!(known(text).into_iter().collect::<Vec<_>>(), ["dump", "media", "tally"]);
}
