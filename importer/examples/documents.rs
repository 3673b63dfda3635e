//! Writes the manual pages and the shells' completions of the command, which packages bring along: `man/*.1` and
//! `completions/*` in a directory.
//!
//! ```console
//! $ cargo run -p importer --example documents -- DIRECTORY
//! ```

use std::{env, fs, io, iter, path::Path};

use anyhow::Context as _;
use clap::{Command, builder::Resettable};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

fn main() -> anyhow::Result<()> {
    let directory = env::args_os().nth(1).context("usage: documents DIRECTORY")?;
    let directory = Path::new(&directory);
    write(directory).with_context(|| format!("writing to {}", directory.display()))
}

fn write(directory: &Path) -> io::Result<()> {
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    let mut all = command().disable_help_subcommand(true);
    all.build();
    for command in iter::once(&all).chain(all.get_subcommands()) {
        Man::new(command.clone())
            .source(concat!("importer ", env!("CARGO_PKG_VERSION")))
            .manual("From Synapse to Conduit")
            .generate_to(&man)?;
    }
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command(), "importer", &completions)?;
    }
    Ok(())
}

/// The long version would be one line in a manual page.
fn command() -> Command {
    importer::cli::command().long_version(Resettable::Reset)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{command, write};

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn each_command_has_a_page_and_each_shell_its_completions() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();

        let command = command();
        let mut pages: BTreeSet<_> = command
            .get_subcommands()
            .map(|command| format!("importer-{}.1", command.get_name()))
            .collect();
        pages.insert("importer.1".to_owned());
        assert_eq!(names(&directory.path().join("man")), pages);
        let page = fs::read_to_string(directory.path().join("man/importer-migrate.1")).unwrap();
        assert!(page.contains(r"\-\-synapse\-config"), "{page}");

        let completions = directory.path().join("completions");
        let shells = ["_importer", "importer.bash", "importer.fish"].map(str::to_owned);
        assert_eq!(names(&completions), BTreeSet::from(shells.clone()));
        for shell in shells {
            let text = fs::read_to_string(completions.join(&shell)).unwrap();
            assert!(text.contains("synapse-config") && text.contains("migrate"), "{shell}: {text}");
        }
    }
}
