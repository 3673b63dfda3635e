//! The report as one HTML file that needs nothing else: no network, no fonts, no files. Everything can be read without
//! its script, which sorts and searches tables. Names in it are other people's words: maud escapes them all.

mod census;
mod plots;
mod tables;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::Report;
use crate::{
    findings::{Finding, Severity, codes},
    tally::Kind,
};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    // Only this style and this script run, whatever else might get into the page.
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.server_name) ": from Synapse to Conduit" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    (todo(report))
                    (findings(&report.findings))
                    (tables::kinds(report))
                    (census::table(report))
                    (plots::sizes(report))
                    (plots::times(report))
                    (tables::rooms(report))
                    (tables::users(report))
                    (tables::left_out("Left out by the dump", "dump", &report.left_out_by_dump))
                    (tables::left_out("Left out by the import", "import", &report.left_out_by_import))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A source expression of a Content Security Policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

fn header(report: &Report) -> Markup {
    let moved = |kind| {
        report
            .kinds
            .iter()
            .find(|facts| facts.kind == kind)
            .map_or((0, 0), |facts| (facts.written, facts.read_from_dump))
    };
    let rooms = report.rooms.iter().filter(|room| room.left_out.is_none()).count();
    html! {
        header {
            p.eyebrow { "From Synapse to Conduit" }
            h1 { (report.server_name) }
            @if report.database.complete {
                p.status.good { "The database is complete and verified: " code { (report.database.directory.display()) } }
            } @else {
                p.status.bad { "The database did not pass. Don’t start Conduit on it." }
            }
            dl.cards {
                (card("Accounts", moved(Kind::User)))
                (card("Rooms", (rooms.try_into().unwrap_or(0), report.rooms.len().try_into().unwrap_or(0))))
                (card("Events", moved(Kind::TimelineEvent)))
                (card("Logins", moved(Kind::AccessToken)))
            }
            p.origin {
                "Read from " (source(report)) ", "
                time data-ms=(report.dump.created_ts) { "at " (report.dump.created_ts) " ms since 1970" }
                "; dump in " code { (report.dump.directory.display()) }
            }
            nav aria-label="Sections" {
                @for (id, name) in [("todo", "To do"), ("findings", "Findings"), ("kinds", "What moved"), ("census", "Tables"),
                    ("sizes", "Size"), ("times", "Time"), ("rooms", "Rooms"), ("users", "Accounts"), ("dump", "Left out")] {
                    a href={ "#" (id) } { (name) }
                    " "
                }
            }
        }
    }
}

fn source(report: &Report) -> String {
    let kind = serde_json::to_value(report.dump.source.kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    match (&report.dump.source.synapse_version, report.dump.source.schema_version) {
        (Some(version), _) => format!("Synapse {version} ({kind})"),
        (None, Some(schema)) => format!("Synapse’s database ({kind}, schema {schema})"),
        (None, None) => format!("Synapse ({kind})"),
    }
}

fn card(name: &str, (moved, of): (u64, u64)) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (number(moved)) @if moved != of { " " small { "of " (number(of)) } } }
        }
    }
}

fn todo(report: &Report) -> Markup {
    html! {
        section #todo {
            h2 { "What you still have to do" }
            ol.todo { @for item in &report.todo { li { (with_code(item)) } } }
        }
    }
}

/// Subjects shown of each code.
const SHOWN: usize = 50;

fn findings(findings: &[Finding]) -> Markup {
    let mut groups: Vec<(Severity, &str, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        match groups.last_mut() {
            Some((severity, code, group))
                if (*severity, *code) == (finding.severity, finding.code) =>
            {
                group.push(finding);
            }
            _ => groups.push((finding.severity, finding.code, vec![finding])),
        }
    }
    html! {
        section #findings {
            h2 { "Findings" }
            @if groups.is_empty() { p { "None." } }
            @for (severity, code, group) in &groups {
                details.finding open[*severity != Severity::Note] {
                    summary {
                        span class={ "badge " (severity) } { (severity) }
                        " " (with_code(codes::find(code).map_or("", |entry| entry.meaning)))
                        " " span.code { (code) " · " (number(group.len().try_into().unwrap_or(0))) }
                    }
                    ul {
                        @for finding in group.iter().take(SHOWN) {
                            li { b { (finding.subject) } ": " (finding.text) }
                        }
                        @if group.len() > SHOWN { li { "… and more, in report.json" } }
                    }
                    @if let Some(finding) = group.iter().find(|finding| !finding.remedy.is_empty()) {
                        p.remedy { (with_code(&finding.remedy)) }
                    }
                }
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

/// A number with narrow spaces between groups of three digits.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len().saturating_mul(2));
    for (place, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        grouped.push(digit);
        if place > 0 && place.is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
    }
    grouped
}
