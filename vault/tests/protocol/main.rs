//! The protocol of collecting, explored exhaustively: two servers back up, two collect and one restores, any of them
//! may end at any step, and answers get lost. The promise is that each chunk of a point that is not gone lies in a pack
//! that is there and that nobody condemned, whatever happens in whatever order. docs/ARCHITECTURE.md, "Validating a
//! Commit", has the rules in words.
//!
//! The second half of the tests leaves one rule out at a time. The checker then finds a history that loses data. So it
//! would notice, and no rule is there for nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod kinds;
mod renaming;
mod rules;
mod state;
mod steps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stateright::{Checker, HasDiscoveries, Model, Property};

use rules::Rule;
use state::{Reader, State};
use steps::{Rules, Size, Step};

const WHOLE: &str = "every chunk of a point that is not gone lies in a good pack";
const RESTORED: &str = "a restore finds what it looks for";

/// Everything at once, with files of one chunk.
const WIDE: Size = Size {
    chunks: 1,
    packs: 3,
    points: 2,
    writers: 2,
    collectors: 2,
    readers: 1,
};
/// Files of two chunks, so that a pack may be needed in part.
const DEEP: Size = Size {
    chunks: 2,
    collectors: 1,
    readers: 0,
    ..WIDE
};
/// The same with two collectors, and fewer points at once.
const TWIN: Size = Size {
    chunks: 2,
    points: 1,
    readers: 0,
    ..WIDE
};

/// How often each kind of step was taken.
type Taken = Arc<Mutex<BTreeMap<&'static str, u64>>>;

#[derive(Clone)]
struct Protocol {
    rules: Rules,
    taken: Option<Taken>,
}

impl Protocol {
    fn of(size: Size) -> Self {
        Self {
            rules: Rules { size, without: None },
            taken: None,
        }
    }
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
        if let Some(taken) = &self.taken {
            let what = self.rules.what_it_is(state, step);
            *taken.lock().unwrap().entry(what).or_default() += 1;
        }
        self.rules.after(state, step).map(|state| state.settled(self.rules))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_, state: &State| state.is_whole()),
            Property::always(RESTORED, |_, state: &State| state.reader != Reader::Failed),
        ]
    }
}

/// Explores every order of the steps.
fn explore(protocol: Protocol) {
    let size = protocol.rules.size;
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    println!(
        "{size:?}: {} states, {} steps deep",
        checker.unique_state_count(),
        checker.max_depth()
    );
    if let Some((what, path)) = checker.discoveries().into_iter().next() {
        panic!("not so: {what}: {:#?}", path.into_actions());
    }
}

#[test]
fn nothing_is_lost_whoever_works_at_once() {
    explore(Protocol::of(WIDE));
}

#[test]
fn nothing_is_lost_of_packs_that_are_needed_in_part() {
    explore(Protocol::of(DEEP));
}

#[test]
fn nothing_is_lost_where_two_collectors_keep_parts_of_packs() {
    explore(Protocol::of(TWIN));
}

#[test]
fn every_kind_of_step_is_taken() {
    let taken = Taken::default();
    let protocol = Protocol {
        taken: Some(Arc::clone(&taken)),
        ..Protocol::of(Size {
            writers: 1,
            readers: 1,
            ..DEEP
        })
    };
    explore(protocol);
    let taken = taken.lock().unwrap();
    println!("{taken:#?}");
    for what in kinds::KINDS {
        assert!(taken.contains_key(what), "never: {what}");
    }
}

#[test]
fn without_any_of_the_rules_something_is_lost() {
    for rule in Rule::ALL {
        let mut protocol = Protocol::of(Size { readers: 1, ..DEEP });
        protocol.rules.size.collectors = 2;
        protocol.rules.without = Some(rule);
        let checker = protocol
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let found = checker.discoveries().into_values().next();
        let path = found.unwrap_or_else(|| panic!("{rule:?} is not needed")).into_actions();
        println!("without {rule:?}: {path:?}");
    }
}
