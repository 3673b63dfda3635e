//! `importer inspect`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::exit;
use crate::conduit::{
    inspect::inspect,
    kv::{self, Mode},
    trees::{TREES, Tree},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory of the database; Conduit must not run
    #[arg(long, value_name = "DIR")]
    database: PathBuf,
    /// Only this tree
    #[arg(value_name = "TREE")]
    tree: Option<String>,
    /// Show tokens, password hashes and keys as well
    #[arg(long)]
    secrets: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let tree = self.tree.as_deref().map(find).transpose()?;
        let backend = kv::detect(&self.database)
            .with_context(|| format!("`{}` holds no Conduit database", self.database.display()))?;
        let store = kv::open(backend, &self.database, Mode::Read)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        match inspect(store.as_ref(), tree, self.secrets, &mut out)
            .and_then(|()| out.flush().map_err(Into::into))
        {
            Err(error) if is_broken_pipe(&error) => Ok(exit::CLEAN),
            result => Ok(result.map(|()| exit::CLEAN)?),
        }
    }
}

fn find(name: &str) -> anyhow::Result<&'static Tree> {
    TREES.into_iter().find(|tree| tree.name == name).ok_or_else(|| {
        let names: Vec<_> = TREES.iter().map(|tree| tree.name).collect();
        anyhow!("Conduit has no tree `{name}`; its trees are {}", names.join(", "))
    })
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
