//! Which folder of the importer may know which: the arrows that must not be there. Files of tests may know everything.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The ground, whose folders may know each other and nobody else.
const GROUND: &[&str] =
    &["counted", "findings", "fs", "hash", "progress", "runtime", "size", "tally", "version"];
/// The floors above it. A folder knows those on floors below its own, and none beside it.
const FLOORS: [&[&str]; 7] = [
    &["conduit", "dump", "proxy"],
    &["source"],
    &["synapse"],
    &["check", "drain", "import", "report", "verify"],
    &["backfill"],
    &["migration"],
    &["cli"],
];
/// Walls between floors: a folder, and those below it that it must not know either.
const WALLS: [(&str, &[&str]); 5] = [
    ("backfill", &["check", "report"]),
    ("drain", &["source", "synapse"]),
    ("import", &["source", "synapse"]),
    ("synapse", &["conduit"]),
    ("verify", &["source", "synapse"]),
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
        if ["lib", "main"].contains(&folder) {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        for known in known(&text).iter().filter(|known| !may_know(folder, known)) {
            let line = text.lines().position(|line| line.contains(known.as_str())).unwrap_or(0);
            broken.push(format!(
                "{}:{} must not know `{known}`",
                name.display(),
                line.saturating_add(1)
            ));
        }
    }
    assert!(files.len() > 200, "only {} files", files.len());
    assert_eq!(broken, [""; 0]);
}

/// Whether a folder may know another one.
fn may_know(folder: &str, known: &str) -> bool {
    let floor = |folder: &str| {
        let above = FLOORS.iter().position(|floor| floor.contains(&folder));
        above.map(|above| above.saturating_add(1)).or_else(|| GROUND.contains(&folder).then_some(0))
    };
    let is_walled = WALLS.iter().any(|(of, walls)| *of == folder && walls.contains(&known));
    match (floor(folder), floor(known)) {
        (Some(0), Some(0)) => true,
        (Some(own), Some(other)) => folder == known || own > other && !is_walled,
        // A folder that is on no floor yet, or an item of the crate's root.
        _ => false,
    }
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
