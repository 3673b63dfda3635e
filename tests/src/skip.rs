//! Tests that can't run here say so.

use std::{fs::File, io::Write as _};

/// Says that the running test is skipped, and why: on standard error, and in the file that `SKIPPED_TESTS` names, from
/// which `scripts/test` counts.
pub fn skipped(reason: &str) {
    let line = format!("skipped: {reason}");
    let file = std::env::var_os("SKIPPED_TESTS")
        .and_then(|path| File::options().append(true).open(path).ok());
    if let Some(mut file) = file {
        drop(writeln!(file, "{line}"));
    }
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The Conduit that `CONDUIT_BIN` names. Without one, the test is [`skipped`].
pub fn conduit() -> Option<String> {
    named_by("CONDUIT_BIN")
}

/// The Continuwuity that `CONTINUWUITY_BIN` names. Without one, the test is [`skipped`].
pub fn continuwuity() -> Option<String> {
    named_by("CONTINUWUITY_BIN")
}

/// The importer of a patched Conduit (`conduit-import`) that `CONDUIT_IMPORT_BIN` names. Without one, the test is
/// [`skipped`].
pub fn conduit_import() -> Option<String> {
    named_by("CONDUIT_IMPORT_BIN")
}

fn named_by(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|path| !path.is_empty());
    if found.is_none() {
        skipped(&format!("{variable} is not set"));
    }
    found
}
