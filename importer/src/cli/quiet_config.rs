//! `importer quiet-config`.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;

use super::exit;
use crate::{config::synapse::SynapseConfig, synapse::quiet};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Synapse's configuration. Given several times as Synapse itself would be
    #[arg(long, value_name = "FILE", required = true)]
    synapse_config: Vec<PathBuf>,
    /// Address at which the old Synapse is to answer, which nobody but Conduit should reach
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8008")]
    listen: SocketAddr,
}

impl Arguments {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let config = SynapseConfig::read(&self.synapse_config)?;
        let text = quiet::overlay(&config.server_name, self.listen);
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads the pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::CLEAN),
            result => Ok(result.map(|()| exit::CLEAN)?),
        }
    }
}
