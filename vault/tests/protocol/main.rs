//! The protocol of collecting, explored exhaustively: two servers back up, two collect and one restores, any of them
//! may end at any step, and answers get lost. The promise is that each chunk of a point that is not gone lies in a pack
//! that is there and that nobody condemned, whatever happens in whatever order. docs/ARCHITECTURE.md, "Validating a
//! Commit", has the rules in words.
//!
//! The second half of the tests leaves one rule out at a time. The checker then finds a history that loses data. So it
//! would notice, and no rule is there for nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod renaming;
mod rules;
mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model, Property};

use rules::Rule;
use state::{Reader, State};
use steps::{Rules, Size, Step};

const WHOLE: &str = "every chunk of a point that is not gone lies in a good pack";
const RESTORED: &str = "a restore finds what it looks for";

#[derive(Clone)]
struct Protocol {
    rules: Rules,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.rules.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.rules.after(state, step).map(State::settled)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_, state: &State| state.is_whole()),
            Property::always(RESTORED, |_, state: &State| state.reader != Reader::Failed),
        ]
    }
}

fn env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap())
}
fn size() -> Size {
    Size { chunks: env("C", 2), packs: env("P", 3), points: env("N", 2), writers: env("W", 2), collectors: env("K", 2), readers: env("R", 1) }
}
#[test]
fn nothing_is_lost() {
    let t = std::time::Instant::now();
    let checker = Protocol { rules: Rules { size: size(), without: None } }.checker().threads(env("T", 1)).target_max_depth(env("D", 1000)).target_state_count(env("S", 400_000_000)).spawn_bfs().join();
    println!("{:?} {} states, {} unique, depth {}, {:?}", size(), checker.state_count(), checker.unique_state_count(), checker.max_depth(), t.elapsed());
    for (name, path) in checker.discoveries() {
        println!("{name}: {:?}", path.into_actions());
    }
    assert!(checker.discoveries().is_empty());
}

#[test]
fn each_rule_is_needed() {
    for rule in Rule::ALL {
        let t = std::time::Instant::now();
        let protocol = Protocol { rules: Rules { size: size(), without: Some(rule) } };
        let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        println!("{rule:?}: {} unique, {:?}", checker.unique_state_count(), t.elapsed());
        let found = checker.discoveries().into_values().next();
        println!("{:?}", found.map(|path| path.into_actions()));
    }
}
