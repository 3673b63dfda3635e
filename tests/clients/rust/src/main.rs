//! matrix-sdk, driven by lines on standard input, each with an answer on standard output:
//! `{"do": "say", "device": "nora", ...}` -> `{"ok": ...}` or `{"error": "..."}`.
//!
//! `client-that-is-moved URL DIRECTORY`: the homeserver's address, and where devices have their stores.

#![recursion_limit = "512"]

mod device;
mod events;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};

use device::Device;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("no address")?;
    let directory = PathBuf::from(arguments.next().context("no directory")?);
    let mut devices = BTreeMap::new();
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Value = serde_json::from_str(&line)?;
        let name = text(&asked, "device")?.to_owned();
        let device =
            devices.entry(name.clone()).or_insert_with(|| Device::new(&url, directory.join(name)));
        let answer = match device.act(text(&asked, "do")?, &asked).await {
            Ok(value) => json!({"ok": value}),
            Err(error) => json!({"error": format!("{error:?}")}),
        };
        stdout().write_all(format!("{answer}\n").as_bytes()).await?;
        stdout().flush().await?;
    }
    Ok(())
}

/// A text of what is asked.
fn text<'a>(asked: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    asked[name].as_str().with_context(|| format!("no {name}"))
}
