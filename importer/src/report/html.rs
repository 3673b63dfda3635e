//! The report as one HTML file that needs nothing else: no network, no fonts, no script. Names in it are other people's
//! words: maud escapes them all.

mod census;
mod left;
mod moved;
mod plots;
mod summary;
mod tables;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{LEFT_OUT, ROOMS, Report, USERS};
use crate::counted::grouped;

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    // Only this style is taken, whatever else might get into the page.
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (report.server_name) ": from Synapse to " (report.target) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (summary::header(report))
                main {
                    @if report.database.complete {
                        (left::behind(report))
                        (summary::todo(report))
                        (summary::notice(report))
                        (summary::findings(&report.findings))
                    } @else {
                        (summary::todo(report))
                        (summary::findings(&report.findings))
                        (left::behind(report))
                    }
                    (moved::table(report))
                    section #more {
                        h2 { "In detail" }
                        (tables::rooms(report))
                        (tables::users(report))
                        (left::of_no_use(report))
                        (census::table(report))
                        (plots::sizes(report))
                        (plots::times(report))
                    }
                }
                (footer(report))
            }
        }
    };
    page.into_string()
}

/// A source expression of a Content Security Policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

fn footer(report: &Report) -> Markup {
    html! {
        footer {
            p {
                "The same as files: "
                a href=(super::JSON) { "report.json" } " (for programs), "
                a href=(ROOMS) { "rooms.csv" } ", " a href=(USERS) { "users.csv" } ", "
                a href=(LEFT_OUT) { "left-out.csv" } " (for spreadsheets)."
            }
            p {
                "Made by importer " (report.importer_version) ". This report names people and rooms, and holds no message, \
                password or key."
            }
        }
    }
}

/// A text whose parts between backquotes are code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A text that begins as a sentence does.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A number of items, as far as numbers go.
fn number(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// A section that is folded at first.
fn folded(id: &str, title: &str, note: &str, body: &Markup) -> Markup {
    html! {
        details.fold id=(id) {
            summary { h3 { (title) } @if !note.is_empty() { " " span.note { (note) } } }
            (body)
        }
    }
}

/// Says that a table goes on elsewhere, if it does.
fn elsewhere(all: usize, shown: usize, file: &str) -> Markup {
    html! {
        @if all > shown {
            p.note {
                (grouped(shown)) " of " (grouped(all)) " are shown. All are in " a href=(file) { (file) } "."
            }
        }
    }
}
