//! The report's tables for spreadsheets: CSV as RFC 4180 has it, in UTF-8. Names in them are other people's words, and a
//! spreadsheet takes a cell that begins like a formula for one: such cells get an apostrophe in front.

use super::Report;
use crate::tally::Skip;

/// `rooms.csv`.
pub(super) fn rooms(report: &Report) -> String {
    let mut table = Table::new(&[
        "room_id",
        "name",
        "version",
        "members_here",
        "events",
        "left_for_later",
        "state",
        "moved",
        "why_not",
    ]);
    for room in &report.rooms {
        table.row(&[
            &room.room_id,
            room.name.as_deref().unwrap_or_default(),
            room.version.as_deref().unwrap_or_default(),
            &room.joined.to_string(),
            &room.events.to_string(),
            &room.older.map(|older| older.to_string()).unwrap_or_default(),
            &room.state.to_string(),
            yes_or_no(room.left_out.is_none()),
            room.left_out.as_deref().unwrap_or_default(),
        ]);
    }
    table.0
}

/// `users.csv`.
pub(super) fn users(report: &Report) -> String {
    let mut table = Table::new(&[
        "user_id",
        "name",
        "devices",
        "logins",
        "logins_moved",
        "rooms",
        "files",
        "file_bytes",
        "notes",
        "moved",
        "why_not",
    ]);
    for user in &report.users {
        table.row(&[
            &user.user_id,
            user.name.as_deref().unwrap_or_default(),
            &user.devices.to_string(),
            &user.tokens.to_string(),
            &user.tokens_moved.to_string(),
            &user.rooms.to_string(),
            &user.files.to_string(),
            &user.file_bytes.to_string(),
            &user.flags.join(", "),
            yes_or_no(user.left_out.is_none()),
            user.left_out.as_deref().unwrap_or_default(),
        ]);
    }
    table.0
}

/// `left-out.csv`.
pub(super) fn left_out(report: &Report) -> String {
    let mut table =
        Table::new(&["by", "kind", "item", "number", "reason", "detail", "may_be_missed"]);
    let sides = [("dump", &report.left_out_by_dump), ("import", &report.left_out_by_import)];
    for (by, skip) in sides.into_iter().flat_map(|(by, skips)| skips.iter().map(move |s| (by, s))) {
        let Skip { kind, item, reason, detail, number } = skip;
        let missed = yes_or_no(skip.is_missed());
        table.row(&[by, &kind.name(), item, &number.to_string(), reason, detail, missed]);
    }
    table.0
}

const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

struct Table(String);

impl Table {
    fn new(heads: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(heads);
        table
    }

    fn row(&mut self, cells: &[&str]) {
        for (place, text) in cells.iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            self.0.push_str(&cell(text));
        }
        self.0.push_str("\r\n");
    }
}

/// What makes a spreadsheet take a cell for a formula, in the wide letters of East Asia as well.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

fn cell(text: &str) -> String {
    let guard = if text.trim_start_matches(' ').starts_with(FORMULA) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            (" blank ", "\" blank \""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-5", "'-5"),
            ("@alice:own.test", "'@alice:own.test"),
            ("\t=1", "'\t=1"),
            ("  =1", "\"'  =1\""),
            ("\r=1", "\"'\r=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("=a,\"b\"", "\"'=a,\"\"b\"\"\""),
            ("!room:own.test", "!room:own.test"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }

    #[test]
    fn rows_end_as_the_standard_has_it() {
        let mut table = Table::new(&["a", "b"]);
        table.row(&["1", "x,y"]);
        assert_eq!(table.0, "a,b\r\n1,\"x,y\"\r\n");
    }
}
