//! `importer quiet-config`.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;

use crate::{
    cli::exit,
    synapse::{
        config::{Configuration, Given, MappedPath, PathMap},
        quiet_config,
    },
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer quiet-config --synapse-config /etc/matrix-synapse/homeserver.yaml > quiet.yaml
  synapse_homeserver -c /etc/matrix-synapse/homeserver.yaml -c quiet.yaml";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Synapse's configuration: files and directories, in the order in which Synapse is started with them
    #[arg(long, value_name = "PATH", required = true)]
    synapse_config: Vec<PathBuf>,
    /// Where a directory named in the configuration is on this machine, if Synapse runs in a container; may be given
    /// several times
    #[arg(long, value_name = "/THERE=/HERE")]
    map_path: Vec<MappedPath>,
    /// Address at which the old Synapse will listen; nobody but Conduit should reach it
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = quiet_config::LISTEN)]
    listen: SocketAddr,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        let given = Given {
            files: self.synapse_config.clone(),
            map: PathMap::new(self.map_path.clone()),
            ..Given::default()
        };
        let config = Configuration::read(&given)?.config;
        let text = quiet_config::overlay(&config.server_name, &self.synapse_config, self.listen);
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads the pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::CLEAN),
            result => Ok(result.map(|()| exit::CLEAN)?),
        }
    }
}
