//! The patches for Conduit: they only add lines, and it is known where these go in each commit that they are for.

use std::{collections::BTreeMap, fs, path::Path};

/// By patch and file, in how many places lines are added to a file that is there.
type Places = BTreeMap<(String, String), usize>;

fn patches() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../patches"))
}

fn files(extension: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(patches()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|found| found == extension));
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The places of a patch; refuses what is more than new files and added lines.
fn places(name: &str, patch: &str) -> Places {
    let (about, diff) = patch.split_once("\n---\n").unwrap();
    assert!(about.contains("\n\nWhy: ") && about.contains("\nOn-disk effect: "), "{name}: {about}");
    let (mut places, mut file, mut new) = (Places::new(), "", false);
    for line in diff.lines() {
        if let Some(old) = line.strip_prefix("--- ") {
            new = old == "/dev/null";
        } else if let Some(path) = line.strip_prefix("+++ b/") {
            file = path;
        } else if line.starts_with("@@ ") {
            let removed = line.split(' ').nth(1).unwrap();
            assert!(removed.ends_with(",0"), "{name}, {file}: {line}");
            if !new {
                let number = name.split('-').next().unwrap().to_owned();
                let places = places.entry((number, file.to_owned())).or_default();
                *places = usize::saturating_add(*places, 1);
            }
        } else {
            let is_known = ["+", "diff ", "index ", "new file mode "]
                .iter()
                .any(|start| line.starts_with(start));
            assert!(is_known, "{name}, {file}: {line}");
        }
    }
    places
}

#[test]
fn patches_only_add_lines_whose_places_are_known_in_each_commit() {
    let patches = files("patch");
    let expected: Places = patches.iter().flat_map(|(name, patch)| places(name, patch)).collect();
    assert!(patches.len() > 14 && expected.len() > 40, "{expected:?}");
    let positions = files("positions");
    assert_eq!(
        positions.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["v0.10.12.positions"]
    );
    for (name, text) in positions {
        assert!(
            text.lines().any(|line| line
                .strip_prefix("# commit ")
                .is_some_and(|commit| commit.len() == 40))
        );
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let found: Places = lines
            .map(|line| {
                let mut words = line.split(' ').map(ToOwned::to_owned);
                let key = (words.next().unwrap(), words.next().unwrap());
                let numbers: Vec<u32> = words.map(|word| word.parse().unwrap()).collect();
                assert!(numbers.is_sorted(), "{name}: {line}");
                (key, numbers.len())
            })
            .collect();
        assert_eq!(found, expected, "{name}: run `scripts/export-patches --positions`");
    }
}
