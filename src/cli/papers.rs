//! `kallback man` and `kallback completions`: what packages ship besides the binary, made from the command tree.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use thiserror::Error;

/// What a page says at its foot.
const SOURCE: &str = concat!("kallback ", env!("CARGO_PKG_VERSION"));

/// Why there is no man page, or no completion.
#[derive(Debug, Error)]
pub(super) enum PapersFault {
    /// A page cannot be written.
    #[error("cannot write {path}: {why}")]
    Page {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The completions cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Writes `kallback.1`, and a page for each command, into the folder, which is made if need be.
pub(super) fn man(tree: Command, folder: &Path) -> Result<(), PapersFault> {
    let fault = |path: PathBuf| move |why| PapersFault::Page { path, why };
    std::fs::create_dir_all(folder).map_err(fault(folder.to_owned()))?;
    let mut tree = tree.disable_help_subcommand(true);
    // From here on every command knows its full name: `kallback-token-mint`.
    tree.build();
    for (name, page) in pages(&tree)? {
        let path = folder.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(fault(path))?;
    }
    Ok(())
}

/// The command's page with its name, and those of the commands below it.
fn pages(command: &Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone()).title(&name).source(SOURCE).manual("kallback").render(&mut page)?;
    let mut all = vec![(name, page)];
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        all.extend(pages(below)?);
    }
    Ok(all)
}

/// Prints what the shell needs to complete command lines.
pub(super) fn completions(mut tree: Command, shell: Shell, out: &mut dyn Write) -> Result<(), PapersFault> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut tree, "kallback", &mut text);
    out.write_all(&text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::CommandLine;
    use clap::CommandFactory as _;

    /// All commands that are shown, as the words behind `kallback`.
    fn shown(command: &Command, words: &[&str]) -> Vec<Vec<String>> {
        let all = command.get_subcommands().filter(|one| !one.is_hide_set());
        all.flat_map(|one| {
            let words: Vec<&str> = words.iter().copied().chain([one.get_name()]).collect();
            let own = words.iter().map(|word| (*word).to_owned()).collect();
            [vec![own], shown(one, &words)].concat()
        })
        .collect()
    }

    #[test]
    fn every_command_has_a_page_and_stands_on_that_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        man(CommandLine::command(), folder.path()).unwrap();
        let page = |words: &[String]| {
            let name = [&["kallback".to_owned()], words].concat().join("-");
            std::fs::read_to_string(folder.path().join(format!("{name}.1")))
                .unwrap_or_else(|why| panic!("{name}: {why}"))
        };
        let commands = shown(&CommandLine::command(), &[]);
        assert!(commands.len() > 5 && commands.contains(&vec!["token".to_owned(), "mint".to_owned()]));
        for words in &commands {
            let (last, parents) = words.split_last().unwrap();
            let (own, parents) = (page(words), page(parents));
            let title = format!("kallback\\-{}", words.join("\\-"));
            assert!(own.contains(&title), "{own}");
            assert!(parents.contains(&title), "{last}: {parents}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), commands.len() + 1);
    }

    #[test]
    fn every_shell_completes_every_command_and_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut out = Vec::new();
            completions(CommandLine::command(), shell, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            for words in shown(&CommandLine::command(), &[]) {
                let command = words.last().unwrap();
                assert!(text.contains(command.as_str()), "{shell}: {command}");
            }
            assert!(text.contains("config") && text.contains("development-certificate"), "{shell}");
        }
    }
}
