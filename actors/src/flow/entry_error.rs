//! Two errors that must not be mixed up: one that costs a single entry (and becomes a warning), and one that ends the
//! stage.

use std::io;

use super::{Fault, Stop};

/// Why an entry (a file, a folder, a page of entries) could not be dealt with. `E` is the error of the entry itself.
#[derive(Debug)]
pub(crate) enum EntryError<E = io::Error> {
    /// This entry can't be read or written. The others still can.
    Entry(E),
    /// The stage has to end.
    Stop(Stop),
}

impl<E> From<Stop> for EntryError<E> {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Entry(error)
    }
}

/// A fault met while dealing with a file is the pipeline's, and ends the stage.
impl From<Fault> for EntryError {
    fn from(fault: Fault) -> Self {
        Self::Stop(fault.into())
    }
}

impl EntryError<Fault> {
    /// Damage is the entry's own. Any other fault ends the stage.
    pub(crate) fn of_fault(fault: Fault) -> Self {
        if fault.costs_one_object() {
            Self::Entry(fault)
        } else {
            Self::Stop(fault.into())
        }
    }
}

impl From<EntryError<Fault>> for EntryError {
    fn from(error: EntryError<Fault>) -> Self {
        match error {
            EntryError::Entry(fault) => Self::Entry(io::Error::other(fault.message)),
            EntryError::Stop(stop) => Self::Stop(stop),
        }
    }
}

impl<E> EntryError<E> {
    /// Lets a [`Stop`] through and gives back what is the entry's own.
    pub(crate) fn entry(self) -> Result<E, Stop> {
        match self {
            Self::Entry(error) => Ok(error),
            Self::Stop(stop) => Err(stop),
        }
    }
}
