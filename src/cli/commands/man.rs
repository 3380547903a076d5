//! `lockstone man`.

mod examples;
mod sections;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::pages::{PageDocument, PagesFolderDocument};
use crate::failure::Exit;

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page for each command into this folder; print the first page otherwise
    dir: Option<PathBuf>,
}

/// Writes the pages of `command`, which is the whole program as clap describes it.
pub(crate) fn run(context: &Context, args: ManArgs, command: Command) -> Outcome {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = args.dir else {
        let page = page(&command).context("cannot write the page")?;
        context.out.text(&page);
        context.out.document(&PageDocument { page });
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for command in all(&command) {
        let file = folder.join(format!("{}.1", page_name(command)));
        page(command)
            .and_then(|page| std::fs::write(&file, page))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    context
        .out
        .line(format!("The manual pages are in {}", folder.display()));
    context.out.document(&PagesFolderDocument { folder });
    Ok(Exit::Done)
}

/// A command and all of its subcommands that are shown.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

/// `lockstone-points-list`
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(command: &Command) -> std::io::Result<String> {
    let man = Man::new(command.clone())
        .source(concat!("lockstone ", env!("CARGO_PKG_VERSION")))
        .manual("Lockstone");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut page = String::from_utf8_lossy(&page).into_owned();
    let name = page_name(command);
    page.push_str(&examples::section(name));
    page.push_str(sections::COMMON);
    page.push_str(&sections::see_also(command));
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_all_sections() {
        let mut command = crate::cli::args::command().disable_help_subcommand(true);
        command.build();
        for command in all(&command) {
            let page = page(command).unwrap_or_default();
            for section in ["EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
                assert!(
                    page.contains(&format!(".SH {section}")) || page.contains(&format!(".SH \"{section}\"")),
                    "{} has no {section}",
                    page_name(command)
                );
            }
            assert!(!page.contains("restart\\-pause"), "{}", page_name(command));
        }
    }
}
