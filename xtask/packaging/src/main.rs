//! Writes the man pages and shell completions of `fairway`, from its own definition of the commands.
//!
//! A program of its own, so that the gateway does not carry what only packages need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, Parser};
use clap_complete::{Shell, generate_to};

/// Writes DIR/man and DIR/completions.
#[derive(Parser)]
struct Arguments {
    /// Where to; what is there is replaced
    directory: PathBuf,
}

/// Those that Debian's packages bring completions for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<()> {
    let directory = Arguments::parse().directory;
    pages(gateway::cli::command(), &emptied(&directory.join("man"))?)?;
    completions(gateway::cli::command(), &emptied(&directory.join("completions"))?)
}

/// A page for the program, and one for each command: `fairway-run.1`.
fn pages(command: Command, directory: &Path) -> Result<()> {
    // `fairway help` is not worth a page.
    clap_mangen::generate_to(command.disable_help_subcommand(true), directory)
        .context("writing the man pages")
}

/// Under the names by which each shell finds them.
fn completions(mut command: Command, directory: &Path) -> Result<()> {
    SHELLS.iter().try_for_each(|shell| {
        generate_to(*shell, &mut command, "fairway", directory)
            .map(drop)
            .with_context(|| format!("writing the completions for {shell}"))
    })
}

fn emptied(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    Ok(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed_in_every_shell() {
        let directory = tempfile::tempdir().unwrap();
        pages(gateway::cli::command(), directory.path()).unwrap();
        completions(gateway::cli::command(), directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let shells = ["fairway.bash", "_fairway", "fairway.fish"].map(read);
        let mut commands = 0;
        for command in gateway::cli::command().get_subcommands() {
            let (name, about) = (command.get_name(), command.get_about().unwrap().to_string());
            let page = read(&format!("fairway-{name}.1"));
            assert!(page.starts_with(".ie") && page.contains(".SH SYNOPSIS"), "{page}");
            assert!(page.contains(about.split(['-', '\'', ':']).next().unwrap()), "{about}: {page}");
            assert!(shells.iter().all(|completion| completion.contains(name)), "{name}");
            commands += 1;
        }
        assert!(commands > 5 && read("fairway.1").contains("fairway\\-run(1)"), "{}", read("fairway.1"));
    }
}
