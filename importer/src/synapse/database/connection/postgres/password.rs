//! A password from `~/.pgpass` (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Once,
};

use tracing::warn;

/// There are several connections, and one file.
static TOLD: Once = Once::new();

/// The password of the first line that fits host, port, database and role. The file must be nobody else's to read.
pub(super) fn find(file: Option<&Path>, wanted: [&str; 4]) -> Option<String> {
    let file = file.map(Path::to_owned).or_else(default_file)?;
    let metadata = file.metadata().ok()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        TOLD.call_once(|| {
            warn!("ignoring `{}`: others may read it (`chmod 600`)", file.display());
        });
        return None;
    }
    let text = fs::read_to_string(&file).ok()?;
    text.lines().find_map(|line| password(line, wanted))
}

fn default_file() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".pgpass"))
}

fn password(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            // The password itself may hold colons.
            ':' if fields.len() <= wanted.len() => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(rest.next()),
            c => fields.last_mut()?.push(c),
        }
    }
    let password = fields.pop()?;
    let fits = fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
    (fits && fields.len() == wanted.len()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [&str; 4] = ["localhost", "5432", "db", "me"];

    #[test]
    fn a_line_that_fits_has_the_password() {
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(password("localhost:5432:db:me:pass", WANTED), is("pass"));
        assert_eq!(password(r"*:*:*:*:pa\:ss\\:x", WANTED), is(r"pa:ss\:x"));
        assert_eq!(password("other:*:*:*:pass", WANTED), None);
        assert_eq!(password("localhost:5432:db:me", WANTED), None);
        assert_eq!(password("#localhost:5432:db:me:pass", WANTED), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "x:*:*:*:no\n*:*:*:*:yes\n").unwrap();
        assert_eq!(find(Some(file.path()), WANTED), Some("yes".into()));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(find(Some(file.path()), WANTED), None);
        assert_eq!(find(Some(Path::new("/nowhere")), WANTED), None);
    }
}
