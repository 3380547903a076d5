//! Files whose content is not on a disk: what a program prints, and what comes from standard input.

use std::io::{self, Read};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstone_actors::{Producer, Production};

use crate::agent::programs::{self, Running};

/// A program whose output is a file.
pub(super) struct Printed {
    pub(super) command: Vec<String>,
    pub(super) required: bool,
}

impl Producer for Printed {
    fn start(&self) -> Result<Box<dyn Production>, String> {
        let program = self.command.first().cloned().unwrap_or_default();
        let mut command = programs::command(&self.command).ok_or("no program is named")?;
        // What it complains about is for the user's eyes.
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let running = Running::start(&mut command).map_err(|error| format!("{program}: {error}"))?;
        Ok(Box::new(Printing { program, running }))
    }

    fn is_required(&self) -> bool {
        self.required
    }

    fn hint(&self) -> String {
        "no recovery point was made; mend the program, or set `required = false` for this item in the policy".to_owned()
    }
}

struct Printing {
    program: String,
    running: Running,
}

impl Production for Printing {
    fn output(&mut self) -> Box<dyn Read + Send> {
        match self.running.child.stdout.take() {
            Some(output) => Box::new(output),
            None => Box::new(io::empty()),
        }
    }

    fn ended(&mut self) -> Option<Result<(), String>> {
        match self.running.ended() {
            Ok(None) => None,
            Ok(Some(status)) if status.success() => Some(Ok(())),
            Ok(Some(status)) => Some(Err(format!("{} failed: {status}", self.program))),
            Err(error) => Some(Err(format!("{}: {error}", self.program))),
        }
    }
}

/// Standard input. It can be read once.
#[derive(Default)]
pub(super) struct FromStdin {
    was_read: AtomicBool,
}

impl Producer for FromStdin {
    fn start(&self) -> Result<Box<dyn Production>, String> {
        if self.was_read.swap(true, Ordering::SeqCst) {
            return Err("the backup had to begin again, and standard input can be read only once".to_owned());
        }
        Ok(Box::new(Reading))
    }

    fn is_required(&self) -> bool {
        true
    }

    fn hint(&self) -> String {
        "no recovery point was made; run it again".to_owned()
    }
}

struct Reading;

impl Production for Reading {
    fn output(&mut self) -> Box<dyn Read + Send> {
        Box::new(io::stdin())
    }

    fn ended(&mut self) -> Option<Result<(), String>> {
        Some(Ok(()))
    }
}
