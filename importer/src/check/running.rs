//! Whether Synapse runs: its listeners, its process, whoever has its database open.

use std::{fs, net::TcpStream, path::Path, time::Duration};

use crate::{
    counted::counted,
    findings::{Finding, codes},
    fs::open_by,
    synapse::config::{DatabaseConfig, Deployment, SynapseConfig},
};

/// How long a local port may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What tells that Synapse runs. `sessions` are those of others on its PostgreSQL database.
pub(super) fn running(
    deployment: &Deployment,
    config: Option<&SynapseConfig>,
    sessions: u64,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let answers =
        |address: &&std::net::SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    if let Some(address) = deployment.listeners.iter().find(answers) {
        let text = "something answers on Synapse's listener";
        found.push(codes::RUNNING.of(address.to_string(), text));
    }
    if let Some(file) = &deployment.pid_file
        && let Some(number) = process(file)
    {
        let text = format!("process {number}, which `pid_file` names, is a Synapse");
        found.push(codes::RUNNING.of(file.display().to_string(), text));
    }
    let databases = config
        .into_iter()
        .flat_map(|config| std::iter::once(&config.database).chain(config.state_database.as_ref()));
    for database in databases {
        if let DatabaseConfig::Sqlite { path } = database
            && let Ok(Some(holder)) = open_by::holder(path)
        {
            let text = format!("{holder} has the database open");
            found.push(codes::RUNNING.of(path.display().to_string(), text));
        }
    }
    if sessions > 0 {
        let others = counted(sessions, ["other session is", "other sessions are"]);
        let text = format!("{others} connected");
        found.push(codes::RUNNING.of("the PostgreSQL database", text));
    }
    found
}

/// The process that a file names, if it is alive and a Synapse: the number may long be another one's.
fn process(file: &Path) -> Option<u32> {
    let number: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    String::from_utf8_lossy(&command).contains("synapse").then_some(number)
}

#[cfg(test)]
mod tests;
