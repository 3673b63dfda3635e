//! What an operator can do about what the system says when something can't be written or read.

/// What the system, RocksDB or SQLite says, and what helps. The engines give texts alone, so texts are what is looked at.
const REMEDIES: &[(&[&str], &str)] = &[
    (
        &["No space left on device", "database or disk is full", "Disk quota exceeded"],
        "; there is no space left: free some, or name a directory on another disk, and run the command again",
    ),
    (
        &["Read-only file system", "readonly database"],
        "; it can't be written to: name a directory on a file system that can",
    ),
    (
        &["Permission denied", "Operation not permitted"],
        "; run the importer as a user who may, or name a directory of your own",
    ),
    (
        &["Device or resource busy"],
        "; a mount point can't be replaced: name a new directory inside of it",
    ),
    (&["Too many open files"], "; allow more open files: `ulimit -n 4096`"),
];

/// What helps against what was said, to be appended to a message; empty if nothing better is known.
pub(crate) fn of(said: &impl ToString) -> &'static str {
    let said = said.to_string();
    let fits = |(texts, _): &&(&[&str], &str)| texts.iter().any(|text| said.contains(text));
    REMEDIES.iter().find(fits).map_or("", |(_, remedy)| remedy)
}

/// A path or another text as one word of a command that an operator copies into a shell.
pub(crate) fn word(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_shell_takes_a_word_for_the_text() {
        for text in
            ["/srv/synapse-1.0", "/srv/my server/x", "it's", "", "$(id)", "a;b", "ä\nb", "~/x", "*"]
        {
            let script = format!("printf %s {}", word(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
        assert_eq!(word("/srv/synapse-1.0"), "/srv/synapse-1.0");
        assert_eq!(word("/my server"), "'/my server'");
    }

    #[test]
    fn what_systems_and_engines_say_is_known() {
        for (said, word) in [
            (io::Error::from_raw_os_error(28).to_string(), "space"),
            (
                "IO error: No space left on device: While appending to file: /x/1.sst".into(),
                "space",
            ),
            ("database or disk is full".into(), "space"),
            (io::Error::from_raw_os_error(122).to_string(), "space"),
            (io::Error::from_raw_os_error(13).to_string(), "user"),
            (io::Error::from_raw_os_error(30).to_string(), "file system"),
            ("attempt to write a readonly database".into(), "file system"),
            (io::Error::from_raw_os_error(16).to_string(), "inside"),
            (io::Error::from_raw_os_error(24).to_string(), "ulimit"),
        ] {
            assert!(of(&said).contains(word), "{said}: {}", of(&said));
        }
        assert_eq!(of(&io::Error::from_raw_os_error(5)), "");
    }
}
