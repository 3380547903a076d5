//! Errors of the system on single files, by strace. So root, who may read everything, meets them, too.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The same command. Whenever it opens one of these files by its path, the system answers with this error.
pub(crate) fn failing_to_open(command: &Command, files: &[&Path], errno: &str) -> Command {
    failing(command, "openat", files, errno)
}

/// The same command. Whenever it reads one of these files, the system answers with this error.
pub(crate) fn failing_to_read(command: &Command, files: &[&Path], errno: &str) -> Command {
    failing(command, "read,pread64", files, errno)
}

fn failing(command: &Command, calls: &str, files: &[&Path], errno: &str) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]);
    traced.arg("-e").arg(format!("trace={calls}"));
    traced.arg("-e").arg(format!("inject={calls}:error={errno}"));
    for file in files {
        traced.arg("-P").arg(file);
    }
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    traced.current_dir(command.get_current_dir().unwrap());
    traced
}

/// Whether strace can do this here. If not, prints that a part is skipped.
pub(crate) fn strace_works() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "there").unwrap();
    let mut cat = Command::new("cat");
    cat.arg(&path).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    cat.current_dir(folder.path());
    let ran = failing_to_open(&cat, &[&path], "EIO").output();
    let works = ran.is_ok_and(|ran| String::from_utf8_lossy(&ran.stderr).contains("Input/output error"));
    if !works {
        eprintln!("SKIPPED: EIO and EACCES need strace, and the right to use it");
    }
    works
}
