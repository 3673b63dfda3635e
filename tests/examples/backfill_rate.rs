//! How fast a room's history comes back: events fetched, verified and stored per second, against a loop that only reads
//! `/backfill`; and the time of pages against Synapse's own `/messages`.
//!
//! ```console
//! $ cargo run --release -p migration-tests --example backfill_rate -- [EVENTS]
//! ```
//!
//! Needs what the end-to-end tests need: `scripts/setup`.

use std::{io::Write as _, sync::Arc};

use anyhow::Context as _;
use conduit_backfill::{Backfill, Options, testing::memory_host::MemoryHost};
use migration_tests::{
    lab::{Engine, Lab},
    past::Past,
};
use ruma::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Events that the homeserver has.
const NEWEST: usize = 20;

/// Events of a page that a client asks for.
const PAGE: usize = 100;

/// How often everything is measured; the best counts.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let events = std::env::args().nth(1).map_or(Ok(2000), |text| text.parse())?;
    let lab = Lab::start(Engine::Sqlite)?;
    let past = Past::of(&lab)?;
    let token = lab.access_token("ada").to_owned();
    let room = fill(&past, &token, events).await?;
    let order = past.order(room.as_str()).await?;
    let mut reading = f64::MAX;
    let mut whole = f64::MAX;
    let mut first = f64::MAX;
    let mut next = f64::MAX;
    let mut theirs = f64::MAX;
    for _ in 0..ROUNDS {
        reading = reading.min(timed(read(&past, &room, &order)).await?);
        let host = newest(&past, &room, &order).await?;
        let backfill = backfill(&host, &past);
        whole = whole.min(timed(async { Ok(backfill.complete(&room, &mut |_| {}).await?) }).await?);
        let host = newest(&past, &room, &order).await?;
        let backfill = self::backfill(&host, &past);
        first = first.min(timed(async { Ok(backfill.older(&room, PAGE).await?) }).await?);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        // The pages ahead are in the timeline: nothing is waited for.
        next = next.min(timed(async { Ok(backfill.older(&room, 0).await?) }).await?);
        theirs = theirs.min(timed(messages(&past, &room, &token)).await?);
    }
    let count = u32::try_from(order.len().saturating_sub(NEWEST)).map(f64::from)?;
    let mut out = std::io::stdout();
    writeln!(out, "only reading:       {:>8.0} events/s", count / reading)?;
    writeln!(
        out,
        "fetched and stored: {:>8.0} events/s, {:.2} of that",
        count / whole,
        reading / whole
    )?;
    writeln!(
        out,
        "first page:         {:>8.1} ms, {:.2} of /messages",
        first * 1e3,
        first / theirs
    )?;
    writeln!(out, "next page:          {:>8.1} ms", next * 1e3)?;
    writeln!(out, "/messages:          {:>8.1} ms", theirs * 1e3)?;
    Ok(())
}

/// A room with messages, some names and topics.
async fn fill(past: &Past, token: &str, events: usize) -> anyhow::Result<OwnedRoomId> {
    let room = past.create("11", json!({"preset": "public_chat"}), token).await?;
    for number in 0..events {
        if number % 250 == 249 {
            let content = json!({"topic": format!("Topic {number}")});
            past.send(&room, "m.room.topic", Some(""), content, token).await?;
        } else {
            let content = json!({"msgtype": "m.text", "body": format!("Message {number}")});
            past.send(&room, "m.room.message", None, content, token).await?;
        }
    }
    Ok(room.try_into()?)
}

async fn newest(
    past: &Past,
    room: &RoomId,
    order: &[OwnedEventId],
) -> anyhow::Result<Arc<MemoryHost>> {
    past.newest(room, "11", order, NEWEST).await?.context("Synapse gives nothing of the room")
}

fn backfill(host: &Arc<MemoryHost>, past: &Past) -> Backfill {
    Backfill::new(host.clone(), Arc::new(past.client.clone()), Options::default())
}

/// What nobody can be faster than: one page after another, looked at for what comes before it only.
async fn read(past: &Past, room: &RoomId, order: &[OwnedEventId]) -> anyhow::Result<()> {
    let mut from = vec![order.get(order.len().saturating_sub(NEWEST)).context("short")?.clone()];
    loop {
        let answer = past.client.backfill(room, &from, 100).await?;
        // In a room without branches, the oldest event alone names one that is not in the page.
        let Some(last) = answer.last() else { return Ok(()) };
        let event: Value = serde_json::from_str(last.get())?;
        let prev = event.get("prev_events").and_then(Value::as_array).into_iter().flatten();
        from = prev.filter_map(|id| id.as_str()?.try_into().ok()).collect();
        if from.is_empty() {
            return Ok(());
        }
    }
}

/// A page as Synapse's own clients get it.
async fn messages(past: &Past, room: &RoomId, token: &str) -> anyhow::Result<()> {
    let path = ["_matrix", "client", "v3", "rooms", room.as_str(), "messages"];
    let query = [("dir", "b"), ("limit", "100")];
    past.ask(reqwest::Method::GET, &path, &query, None, Some(token)).await?;
    Ok(())
}

/// Seconds that something takes.
async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<f64> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed().as_secs_f64())
}
