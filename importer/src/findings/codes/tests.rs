use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use super::{CHECKS, Code, IMPORT, VERIFICATION, all};

/// The table as `docs/findings.md` has it.
fn table(codes: &[Code]) -> String {
    let mut text = String::from("| code | severity | meaning | what to do |\n|---|---|---|---|\n");
    for code in codes {
        let severity = format!("{:?}", code.severity).to_lowercase();
        let accepted = if code.acceptable { ", can be accepted" } else { "" };
        writeln!(
            text,
            "| {} | {severity}{accepted} | {} | {} |",
            code.code, code.meaning, code.remedy
        )
        .unwrap();
    }
    text
}

#[test]
fn the_documentation_has_every_code_with_its_words() {
    let documentation = include_str!("../../../docs/findings.md");
    for table in [CHECKS, IMPORT, VERIFICATION].map(table) {
        assert!(documentation.contains(&table), "docs/findings.md should contain:\n{table}");
    }
}

#[test]
fn codes_are_sorted_and_have_one_entry_for_each_severity() {
    for codes in [CHECKS, IMPORT, VERIFICATION] {
        assert!(codes.is_sorted_by(|a, b| (a.code, a.severity) < (b.code, b.severity)));
    }
}

/// Every code that stands in the sources as a literal.
fn literals(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals(&path, found);
        } else if !path.ends_with("findings/codes.rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(
                text.split('"')
                    .filter(|word| {
                        word.len() == 4
                            && word.starts_with(['C', 'I', 'V'])
                            && word.bytes().skip(1).all(|byte| byte.is_ascii_digit())
                    })
                    .map(str::to_owned),
            );
        }
    }
}

#[test]
fn every_code_in_the_sources_is_in_the_table() {
    let mut found = BTreeSet::new();
    literals(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let known: BTreeSet<_> = all().map(|code| code.code.to_owned()).collect();
    assert!(found.len() > 30, "no literals found: {found:?}");
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "add {unknown:?} to findings/codes.rs and docs/findings.md");
}
