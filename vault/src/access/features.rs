//! Features: words for what a program must understand to read a vault, or to write to it. The descriptor has words for
//! the whole vault, a log entry has words for itself. A program that meets a word it does not know refuses, because
//! whoever wrote it relies on it being understood. All known words are here.

/// A writer does not count what is in condemned packs as stored. Every vault asks this of its writers, so that a vault
/// can be collected one day without harm from an old writer.
pub(crate) const CONDEMN: &str = "condemn";

const KNOWN: [&str; 1] = [CONDEMN];
/// The most words in one list.
pub(crate) const WORDS_MAX: usize = 64;

/// The first of these words that this program does not know.
pub(crate) fn unknown(words: &[String]) -> Option<&String> {
    words.iter().find(|word| !KNOWN.contains(&word.as_str()))
}
