//! `importer proxy-config`.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use clap::Args;

use crate::{
    cli::exit,
    conduit::schema::dialect::Dialect,
    proxy::{Direction, Proxy, config},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer proxy-config --for nginx --upstream 127.0.0.1:8008";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The reverse proxy
    #[arg(long = "for", value_name = "PROXY", value_enum)]
    proxy: Proxy,
    /// The server that was moved to
    #[arg(long, value_enum, default_value_t = Dialect::Conduit, conflicts_with = "back")]
    target: Dialect,
    /// For going back to Synapse: remove the pagination tokens that clients have from Conduit
    #[arg(long)]
    back: bool,
    /// Where the proxy reaches the homeserver [default: 127.0.0.1:6167; for Continuwuity and with `--back` 127.0.0.1:8008]
    #[arg(long, value_name = "ADDRESS:PORT")]
    upstream: Option<SocketAddr>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        let direction = match self.target {
            _ if self.back => Direction::BackToSynapse,
            Dialect::Conduit => Direction::ToConduit,
            Dialect::Continuwuity => Direction::ToContinuwuity,
        };
        let upstream = self.upstream.unwrap_or_else(|| direction.upstream());
        let text = config(self.proxy, direction, upstream);
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads the pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::CLEAN),
            result => Ok(result.map(|()| exit::CLEAN)?),
        }
    }
}
