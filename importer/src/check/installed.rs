//! The Conduit that is installed on this machine: whether it can open the new database, and in what it differs.

use std::{
    fmt, fs,
    io::{Read as _, Seek as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::Checks;
use crate::findings::codes;

/// Debian's list of installed packages.
const PACKAGES: &str = "/var/lib/dpkg/status";
/// Conduit's package (Cargo.toml, `[package.metadata.deb]`).
const PACKAGE: &str = "matrix-conduit";
/// A program may take five seconds to print its version: so often is looked whether it has ended.
const LOOKS: u32 = 500;
/// Bytes of its output that are looked at.
const LONGEST: u64 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The first release whose database has version 18 (src/database/mod.rs:462 of its tag).
const OPENS_18: Version = Version([0, 10, 1]);
/// The first release that knows rooms of version 12 (src/service/globals/mod.rs:190 of its tag).
const KNOWS_ROOMS_12: Version = Version([0, 10, 8]);
/// The release and the development version that the importer's databases are tried with.
const TRIED: [Version; 2] = [RELEASE, Version([0, 11, 0])];
const RELEASE: Version = Version([0, 10, 12]);

/// Major, minor and patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u64; 3]);

impl Version {
    /// Reads the beginning of a version: `0.10.12-1`, `0.11.0-alpha (d058dab7)`.
    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Vec<u64> =
            text.get(..end)?.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self(numbers.try_into().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Checks the program that the operator named, or the package that is installed. Where there is neither, nothing is known:
/// Conduit may run elsewhere, or in a container.
pub(super) fn check(checks: &mut Checks, binary: Option<&Path>) {
    let Some(binary) = binary else {
        if let Some(version) = package(Path::new(PACKAGES)) {
            judge(checks, &format!("package `{PACKAGE}` {version}"), &version);
        }
        return;
    };
    let subject = format!("`{}`", binary.display());
    match printed(binary) {
        Err(reason) => checks.found(&codes::NOT_CONDUIT, subject, reason),
        Ok(line) => {
            if let Some(("conduit", version)) = line.split_once(' ') {
                judge(checks, &format!("{subject} {version}"), version);
            } else {
                let text = format!("prints `{line}` as its version; it is not Conduit");
                checks.found(&codes::NOT_CONDUIT, subject, text);
            }
        }
    }
}

/// Says what a version means for the new database.
fn judge(checks: &mut Checks, subject: &str, version: &str) {
    let Some(read) = Version::read(version) else {
        return checks.found(&codes::CONDUIT_UNTRIED, subject, "has a version of another form");
    };
    if read < OPENS_18 {
        let text = format!("opens no database of version 18; {OPENS_18} is the first that does");
        checks.found(&codes::CONDUIT_OLD, subject, text);
    } else if read < KNOWS_ROOMS_12 {
        let text = format!("has no rooms of version 12; {KNOWS_ROOMS_12} is the first that does");
        checks.found(&codes::CONDUIT_OLD, subject, text);
    } else if !TRIED.contains(&read) {
        let text = format!("is none of the versions that were tried ({}, {})", TRIED[0], TRIED[1]);
        checks.found(&codes::CONDUIT_UNTRIED, subject, text);
    } else if read == RELEASE {
        let text = "asks users for their password when they first set up encryption, and has no S3 for media";
        checks.found(&codes::CONDUIT_DIFFERS, subject, text);
    }
}

/// The version of the package, if it is installed.
fn package(status: &Path) -> Option<String> {
    let status = fs::read_to_string(status).ok()?;
    let package = status.split("\n\n").find(|stanza| {
        let has = |line: &str| stanza.lines().any(|found| found == line);
        has(&format!("Package: {PACKAGE}")) && has("Status: install ok installed")
    })?;
    package.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

/// The line that a program prints as its version, without control characters. What it prints goes into a file, so nothing waits for
/// whoever else may have that open.
fn printed(binary: &Path) -> Result<String, String> {
    let run = |error: std::io::Error| format!("can't be run: {error}");
    let mut out = tempfile::tempfile().map_err(run)?;
    let mut command = Command::new(binary);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(out.try_clone().map_err(run)?).spawn().map_err(run)?;
    let mut looks = 0..LOOKS;
    let has_ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if looks.next().is_some() => std::thread::sleep(BETWEEN_LOOKS),
            _ => {
                // It may have ended meanwhile.
                let _ended = child.kill();
                let _waited = child.wait();
                break false;
            }
        }
    };
    let mut line = Vec::new();
    out.rewind().and_then(|()| out.take(LONGEST).read_to_end(&mut line)).map_err(run)?;
    let line = String::from_utf8_lossy(&line);
    let line = line.lines().next().unwrap_or_default().trim();
    if has_ended && !line.is_empty() {
        Ok(line.replace(char::is_control, ""))
    } else {
        Err("does not print its version".into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::findings::Finding;

    fn said(binary: &Path) -> Vec<String> {
        let mut checks = Checks::default();
        check(&mut checks, Some(binary));
        let line = |finding: Finding| format!("{} {}", finding.code, finding.text);
        checks.finish().into_iter().map(line).collect()
    }

    /// What is found of a program that does this.
    fn of_program(script: &str) -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("conduit");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        said(&program)
    }

    #[test]
    fn a_version_says_what_the_program_can_open() {
        let found = |version: &str| of_program(&format!("echo 'conduit {version}'"));
        assert_eq!(found("0.11.0-alpha (d058dab7)"), Vec::<String>::new());
        let cases = [
            (
                "0.10.12",
                "C532 asks users for their password when they first set up encryption, and has no S3 for media",
            ),
            ("0.10.0", "C530 opens no database of version 18; 0.10.1 is the first that does"),
            ("0.9.0", "C530 opens no database of version 18; 0.10.1 is the first that does"),
            ("0.10.7", "C530 has no rooms of version 12; 0.10.8 is the first that does"),
            ("0.10.8", "C531 is none of the versions that were tried (0.10.12, 0.11.0)"),
            ("0.12.0", "C531 is none of the versions that were tried (0.10.12, 0.11.0)"),
            ("next", "C531 has a version of another form"),
        ];
        for (version, expected) in cases {
            assert_eq!(found(version), [expected], "{version}");
        }
    }

    #[test]
    fn another_program_is_not_conduit() {
        assert_eq!(
            of_program("echo 'continuwuity 26.8.0'"),
            ["C533 prints `continuwuity 26.8.0` as its version; it is not Conduit"]
        );
        assert_eq!(of_program("exit 1"), ["C533 does not print its version"]);
        assert_eq!(of_program("sleep 60"), ["C533 does not print its version"]);
        assert_eq!(of_program("sleep 60 & exit 0"), ["C533 does not print its version"]);
        assert_eq!(
            of_program("printf 'evil\\033[2J %0300d\\n' 1"),
            [format!(
                "C533 prints `evil[2J {}` as its version; it is not Conduit",
                "0".repeat(191)
            )]
        );
        assert_eq!(
            of_program("echo 'conduit 0.11.0-alpha'; sleep 60 & exit 0"),
            Vec::<String>::new()
        );
        let absent = said(Path::new("/no/such/conduit"));
        assert!(absent.len() == 1 && absent[0].starts_with("C533 can't be run: "), "{absent:?}");
    }

    #[test]
    fn a_package_counts_while_it_is_installed() {
        let version = |stanzas: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), stanzas).unwrap();
            package(file.path())
        };
        let installed = "Package: other\nStatus: install ok installed\nVersion: 1\n\n\
                         Package: matrix-conduit\nStatus: install ok installed\nVersion: 0.10.12-1\n";
        assert_eq!(version(installed).as_deref(), Some("0.10.12-1"));
        let removed =
            "Package: matrix-conduit\nStatus: deinstall ok config-files\nVersion: 0.10.12-1\n";
        assert_eq!(version(removed), None);
        assert_eq!(version(""), None);
        assert_eq!(package(Path::new("/no/such/file")), None);
        assert_eq!(Version::read("0.10.12-1"), Some(RELEASE));
        assert_eq!(Version::read("0.10"), None);
    }
}
