//! What matters most: how it ended, how much moved, what is to be done, what people will notice.

use std::time::Duration;

use maud::{Markup, html};

use super::{
    super::{Report, Verdict, date, next_steps::Todo},
    number, sentence, with_code,
};
use crate::{
    conduit::schema::dialect::Dialect,
    counted::{counted, grouped},
    findings::{Finding, Severity, remedies},
    progress::time,
    size::size,
    tally::Kind,
};

/// Subjects shown of each code.
const SHOWN: usize = 50;

/// The head of the page.
pub(super) fn header(report: &Report) -> Markup {
    let (class, sign) = match report.verdict {
        Verdict::NothingMissing => ("good", "M5 12.5l4.5 4.5L19 7.5"),
        Verdict::SomethingMissing => ("part", "M12 6v7.5M12 17.2v.3"),
        Verdict::NotComplete => ("bad", "M7 7l10 10M17 7L7 17"),
    };
    html! {
        header {
            p.eyebrow { "From Synapse to " (report.target) }
            h1 { (report.server_name) }
            div.verdict.(class) {
                svg.sign viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
                    circle cx="12" cy="12" r="12" {}
                    path d=(sign) {}
                }
                div {
                    p.headline { (report.headline) }
                    p { (under(report)) }
                }
            }
            (facts(report))
            @if report.database.complete { (cards(report)) }
        }
    }
}

/// What the headline does not say.
fn under(report: &Report) -> Markup {
    let behind = report.left_out().filter(|skip| skip.is_missed()).count() > 0;
    html! {
        @match report.verdict {
            Verdict::NotComplete => {
                "The database was read back and differs from what was read from Synapse. It is kept for inspection; Synapse's data is \
                unchanged."
            }
            _ => {
                "The database was read back and compared with what was read from Synapse."
                @if !behind && report.verdict == Verdict::SomethingMissing && report.later.rooms == 0 {
                    " See " a href="#findings" { "the findings" } "."
                }
                @if behind { " " a href="#behind" { "What stays behind, and why" } "." }
                @if report.later.rooms > 0 || report.later.uncounted || report.later.lost_rooms > 0 {
                    " Older messages are " a href="#todo" { "to be fetched later" } "."
                }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    let seconds = report.steps.iter().map(|step| step.seconds).sum::<f64>();
    let took = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    html! {
        dl.facts {
            div { dt { "When" } dd { (date::utc(report.made_ts)) ", in " (time(took)) } }
            div { dt { "From" } dd { (source(report)) } }
            div {
                dt { "To" }
                dd {
                    (report.target) ", database version " (report.database.version) " (" (engine(&report.database.backend)) "): "
                    code { (report.database.directory.display()) }
                }
            }
            div { dt { "Dump" } dd { code { (report.dump.directory.display()) } ", begun " (date::utc(report.dump.created_ts)) } }
        }
    }
}

fn engine(backend: &str) -> &str {
    match backend {
        "rocksdb" => "RocksDB",
        "sqlite" => "SQLite",
        other => other,
    }
}

fn source(report: &Report) -> String {
    use crate::dump::format::SourceKind;
    let source = &report.dump.source;
    let read = match source.kind {
        SourceKind::Sqlite => "SQLite database",
        SourceKind::Postgres => "PostgreSQL database",
        SourceKind::Api => "APIs",
    };
    let version = source.synapse_version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let schema = source.schema_version.map(|v| format!(", schema version {v}")).unwrap_or_default();
    format!("Synapse{version}: its {read}{schema}")
}

fn cards(report: &Report) -> Markup {
    let of = |kind| report.kinds.iter().find(|facts| facts.kind == kind);
    let written = |kind| of(kind).map_or(0, |facts| facts.written);
    let all = |kind| of(kind).map_or(0, |facts| facts.written.saturating_add(facts.left_out));
    let rooms = report.rooms.iter().filter(|room| room.left_out.is_none()).count();
    let files = missed(report, Kind::Media);
    let logins = match (written(Kind::AccessToken), all(Kind::AccessToken)) {
        (_, 0) => "no device stays logged in".to_owned(),
        (moved, _) => counted(moved, ["device logged in", "devices logged in"]),
    };
    let later = report.later.events.saturating_add(report.later.lost_events);
    let events = match later {
        0 => "and other events".to_owned(),
        _ => format!("and {} in Synapse", counted(later, ["older one", "older ones"])),
    };
    let events_left = missed(report, Kind::TimelineEvent);
    let messages = written(Kind::TimelineEvent);
    html! {
        dl.cards {
            (card("People", written(Kind::User), all(Kind::User), "#behind-user", &logins))
            (card("Rooms", number(rooms), number(report.rooms.len()), "#behind-room", &counted(written(Kind::Alias), ["address", "addresses"])))
            (card("Messages", messages, messages.saturating_add(events_left), "#behind-timeline-event", &events))
            (card("Files", report.media.files, report.media.files.saturating_add(files), "#behind-media", &size(report.media.bytes)))
        }
    }
}

/// How many of a kind stay behind and may be missed.
fn missed(report: &Report, kind: Kind) -> u64 {
    let skips = report.left_out().filter(|skip| skip.kind == kind && skip.is_missed());
    skips.fold(0, |sum, skip| sum.saturating_add(skip.number))
}

fn card(name: &str, moved: u64, of: u64, behind: &str, under: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd {
                @if moved == of { b { (grouped(moved)) } } @else {
                    a href=(behind) { b { (grouped(moved)) } " of " (grouped(of)) }
                }
                small { (under) }
            }
        }
    }
}

/// What is left to do.
pub(super) fn todo(report: &Report) -> Markup {
    html! {
        section #todo {
            h2 { "What you still have to do" }
            ol.todo { @for step in &report.todo { (item(step)) } }
        }
    }
}

fn item(Todo { text, commands }: &Todo) -> Markup {
    html! {
        li {
            p { (with_code(text)) }
            @for command in commands { pre { code { (command) } } }
        }
    }
}

/// What people will notice.
pub(super) fn notice(report: &Report) -> Markup {
    let written = |kind: Kind| {
        report.kinds.iter().find(|facts| facts.kind == kind).is_some_and(|facts| facts.written > 0)
    };
    let logins = missed(report, Kind::AccessToken);
    let is_conduit = report.target == Dialect::Conduit;
    let star = if is_conduit {
        patched()
    } else {
        html! {}
    };
    html! {
        section #notice {
            h2 { "What people will notice" }
            ul {
                @if written(Kind::AccessToken) {
                    li { "Whoever is logged in stays logged in. Nobody has to do anything." }
                } @else {
                    li { "Everybody has to log in again." }
                }
                @if logins > 0 && written(Kind::AccessToken) {
                    li { (counted(logins, ["device has", "devices have"])) " to log in again." }
                }
                @if written(Kind::PasswordHash) {
                    li {
                        "A " b { "new" } " login needs a new password, which an administrator sets in the admin room \
                        (" code { (report.target.words("`reset-password`").trim_matches('`')) } ")." (star)
                    }
                }
                @if report.later.rooms > 0 || report.later.uncounted {
                    li { "Older messages can't be scrolled to until they are fetched." (star) }
                }
                @if is_conduit {
                    li { "Element X shows no invites. The room appears when it is joined in another app, or by its address." (star) }
                    li { "Element Web can show the messages of a thread in the wrong order." }
                    li { "People on other servers don't see who is typing here, and see read receipts only with the next message." }
                }
            }
            p.note {
                "These are differences between the two servers; nothing that moved is lost."
                @if is_conduit { " " span.star { "*" } " Not with a Conduit that has this project's patches." }
            }
        }
    }
}

fn patched() -> Markup {
    html! { span.star title="not with a Conduit that has this project's patches" { " *" } }
}

/// What was found by checks, import and verification.
pub(super) fn findings(findings: &[Finding]) -> Markup {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same = |group: &Vec<&Finding>| {
            group.first().is_some_and(|first| {
                (first.severity, first.code) == (finding.severity, finding.code)
            })
        };
        match groups.last_mut().filter(|group| same(group)) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    if groups.is_empty() {
        return html! {};
    }
    html! {
        section #findings {
            h2 { "Findings" }
            @for group in &groups { (group_of(group)) }
        }
    }
}

fn group_of(group: &[&Finding]) -> Markup {
    let Some(first) = group.first() else { return html! {} };
    let head = if first.severity == Severity::Note { "If it matters: " } else { "What to do: " };
    html! {
        details.finding open[first.severity == Severity::Blocking] {
            summary {
                span class={ "badge " (first.severity) } { (first.severity) }
                span.meaning { (with_code(&sentence(&first.meaning))) }
            }
            ul {
                @for finding in group.iter().take(SHOWN) {
                    li { b { (finding.subject) } ": " (with_code(&finding.text)) }
                }
                @if group.len() > SHOWN {
                    li { "… and " (grouped(group.len().saturating_sub(SHOWN))) " more, in " a href=(super::super::JSON) { "report.json" } }
                }
            }
            @for remedy in remedies(group).into_iter().take(SHOWN) {
                p.remedy { (head) (with_code(remedy)) }
            }
            p.ref { "Reference: " (first.code) }
        }
    }
}
