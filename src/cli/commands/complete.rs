//! `lockstone complete`: what may stand where the cursor is, for the scripts of `lockstone completions`. It knows
//! recovery points and jobs; the scripts know all the rest. Each line is a word, a tab and what it is. It never fails
//! and asks nothing: a shell runs it at the press of a key.

use clap::{Arg, Args, Command};

use crate::agent::suggest::{self, Suggestion};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::Exit;

/// Options of `complete`.
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// The words behind `lockstone` up to the cursor, the last of which is not finished
    #[arg(last = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// An id has at least so many digits where it is shown.
const SHORT: usize = 8;

/// What is wanted at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Point,
    Job,
}

/// Prints what may stand at the end of the words of `command`, which is the whole program as clap describes it.
pub(crate) fn run(context: &Context, args: &CompleteArgs, command: Command) -> Outcome {
    let Some((current, wanted)) = wanted(command, &args.words) else {
        return Ok(Exit::Done);
    };
    let (found, mut lines) = match wanted {
        Wanted::Point => (
            context.block_on(suggest::points(&context.environment)),
            vec!["latest\tthe newest one".to_owned()],
        ),
        Wanted::Job => (suggest::jobs(), Vec::new()),
    };
    if found.is_empty() {
        return Ok(Exit::Done);
    }
    let digits = digits(&found, current.len());
    lines.extend(found.iter().map(|one| format!("{}\t{}", &one.id[..digits], one.about)));
    lines.retain(|line| line.starts_with(current));
    for line in lines {
        context.out.text(&format!("{line}\n"));
    }
    Ok(Exit::Done)
}

/// So many digits tell these ids apart.
fn digits(found: &[Suggestion], typed: usize) -> usize {
    let least = found.iter().map(|one| one.id.len()).min().unwrap_or_default();
    let are_different = |digits: &usize| {
        let mut short: Vec<&str> = found.iter().map(|one| &one.id[..*digits]).collect();
        short.sort_unstable();
        short.windows(2).all(|two| two[0] != two[1])
    };
    (SHORT.max(typed)..least).find(are_different).unwrap_or(least)
}

/// The word at the cursor, and what is wanted there. `None` if it is neither a point nor a job of this server.
fn wanted(mut command: Command, words: &[String]) -> Option<(&str, Wanted)> {
    command.build();
    let (current, before) = words.split_last()?;
    // The points of another machine are not known here.
    let is_elsewhere = |word: &String| word == "--credentials" || word.starts_with("--credentials=");
    if current.starts_with('-') || before.iter().any(is_elsewhere) {
        return None;
    }
    let (mut at, mut place, mut options) = (&command, 0, true);
    let mut before = before.iter().map(String::as_str);
    while let Some(word) = before.next() {
        if options && word == "--" {
            options = false;
        } else if options && word.len() > 1 && word.starts_with('-') {
            if let Some(option) = option(at, word)
                && before.next().is_none()
            {
                return Some((current, kind(option)?));
            }
        } else if let Some(below) = at.find_subcommand(word).filter(|_| place == 0) {
            at = below;
        } else {
            place += 1;
        }
    }
    let positional = at.get_positionals().nth(place);
    let last = || at.get_positionals().last().filter(|last| is_many(last));
    Some((current, kind(positional.or_else(last)?)?))
}

/// The option of this word, if its value is the next word.
fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let found = match word.strip_prefix("--") {
        Some(long) => command.get_arguments().find(|arg| arg.get_long() == Some(long)),
        None => {
            let short = word.chars().last();
            command.get_arguments().find(|arg| arg.get_short() == short)
        }
    };
    // An option whose value is optional has it behind `=`.
    found.filter(|arg| arg.get_action().takes_values() && arg.get_num_args().is_none_or(|count| count.min_values() > 0))
}

fn is_many(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.max_values() > 1)
}

fn kind(arg: &Arg) -> Option<Wanted> {
    match arg.get_value_names()?.first()?.as_str() {
        "POINT" => Some(Wanted::Point),
        "JOB" => Some(Wanted::Job),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn of(line: &str) -> Option<(String, Wanted)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wanted(args::command(), &words).map(|(current, wanted)| (current.to_owned(), wanted))
    }

    #[test]
    fn points_and_jobs_are_wanted_where_the_command_has_them() {
        let wants = |wanted| move |line: &&str| of(line).is_some_and(|(_, found)| found == wanted);
        let points = [
            "restore ",
            "restore lat",
            "--json restore ",
            "restore --target /x ",
            "restore --target=/x -n ",
            "restore --threads 2 ",
            "dump ",
            "points ls ",
            "points diff ",
            "points diff abc ",
            "points delete ",
            "points delete a b ",
            "points hold --reason x ",
            "points find x --point ",
            "restore -- ",
        ];
        let jobs = ["jobs show ", "jobs cancel 12", "jobs show --json "];
        assert_eq!(points.iter().filter(|line| !wants(Wanted::Point)(line)).count(), 0);
        assert_eq!(jobs.iter().filter(|line| !wants(Wanted::Job)(line)).count(), 0);
        assert_eq!(of("restore lat"), Some(("lat".to_owned(), Wanted::Point)));
        let others = [
            "",
            "rest",
            "restore abc ",
            "restore -",
            "restore --target ",
            "points ",
            "points ls abc ",
            "points diff a b ",
            "points hold --reason ",
            "jobs list ",
            "backup ",
            "nothing ",
            "restore --credentials x ",
            "restore --credentials=x ",
        ];
        for line in others {
            assert_eq!(of(line), None, "{line:?}");
        }
    }

    #[test]
    fn ids_are_shown_with_as_many_digits_as_tell_them_apart() {
        let of = |ids: &[&str]| -> Vec<Suggestion> {
            let one = |id: &&str| Suggestion {
                id: (*id).to_owned(),
                about: String::new(),
            };
            ids.iter().map(one).collect()
        };
        let (a, b, c) = ("0123456789abcdef", "0123456789abxxxx", "f123456789abcdef");
        assert_eq!(digits(&of(&[a, c]), 0), 8);
        assert_eq!(digits(&of(&[a, b, c]), 3), 13);
        assert_eq!(digits(&of(&[a, c]), 10), 10);
        assert_eq!(digits(&of(&[a, a]), 0), 16);
        assert_eq!(digits(&[], 0), 0);
    }
}
