//! `importer inspect`.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use tracing::{info, warn};

use crate::{
    cli::exit,
    conduit::{
        compare::{Compared, compare},
        inspect::{InspectError, inspect},
        schema::{dialect::Dialect, trees::Tree},
        store::{self, KvRead},
    },
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example, the rows of one tree:
  importer inspect --database /var/lib/matrix-conduit userid_displayname";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of the database; the server must not run
    #[arg(long, value_name = "DIR", required_unless_present = "diff")]
    database: Option<PathBuf>,
    /// Compare two databases instead, and print the rows that differ; exit code 1 if there are any
    #[arg(long, num_args = 2, value_names = ["DIR", "DIR"], conflicts_with = "database")]
    diff: Vec<PathBuf>,
    /// How many differing rows are printed; all are counted
    #[arg(long, value_name = "NUMBER", default_value_t = 100, requires = "diff")]
    most: u64,
    /// Only this tree
    #[arg(value_name = "TREE")]
    tree: Option<String>,
    /// Show tokens, password hashes and keys as well
    #[arg(long)]
    secrets: bool,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let result = match (&self.database, &*self.diff) {
            (None, [first, second]) => {
                let (first, second) = (open(first)?, open(second)?);
                self.tree(&*first)?;
                let tree = self.tree(&*second)?;
                self.diff(&*first, &*second, tree, &mut out)
            }
            (database, _) => {
                let store = open(database.as_deref().unwrap_or(Path::new("")))?;
                let tree = self.tree(&*store)?;
                inspect(&*store, tree, self.secrets, &mut out).map(|()| exit::CLEAN)
            }
        };
        match result.and_then(|code| Ok(out.flush().map(|()| code)?)) {
            Err(error) if is_broken_pipe(&error) => Ok(exit::CLEAN),
            result => Ok(result?),
        }
    }

    /// The tree that is asked for.
    fn tree(&self, store: &dyn KvRead) -> anyhow::Result<Option<&'static Tree>> {
        self.tree.as_deref().map(|name| find(store.dialect(), name)).transpose()
    }

    fn diff(
        &self,
        first: &dyn KvRead,
        second: &dyn KvRead,
        tree: Option<&'static Tree>,
        out: &mut dyn io::Write,
    ) -> Result<u8, InspectError> {
        let (own, other) = (first.dialect(), second.dialect());
        if own != other && tree.is_none() {
            warn!(
                "the databases are {own}'s and {other}'s: only trees that both have are compared, by Conduit's names"
            );
        }
        let Compared { rows, differences } =
            compare(first, second, tree, self.secrets, self.most, out)?;
        if differences > self.most {
            warn!("{differences} of {rows} rows differ; the first {} are shown", self.most);
        } else {
            info!("{differences} of {rows} rows differ");
        }
        Ok(if differences == 0 { exit::CLEAN } else { exit::FAILED })
    }
}

fn open(directory: &Path) -> anyhow::Result<Box<dyn KvRead>> {
    let backend = store::detect(directory).with_context(|| {
        format!("`{}` holds no database of Conduit or Continuwuity", directory.display())
    })?;
    Ok(store::read(backend, directory)?)
}

fn find(server: Dialect, name: &str) -> anyhow::Result<&'static Tree> {
    server.find(name).ok_or_else(|| {
        let names: Vec<_> = server.trees().iter().map(|tree| tree.name).collect();
        anyhow!("{server} has no tree `{name}`; its trees are {}", names.join(", "))
    })
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
