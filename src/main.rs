//! The `lockstone` program. Everything it does is in the library; here it starts, and here it ends with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    lockstone::cli::main()
}
