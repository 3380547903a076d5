//! A lab: a state folder, a vault and a source in a temporary folder, and ways to run the program in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// The smallest settings of a pipeline.
pub(crate) const LEAST: [&str; 10] = [
    "--threads",
    "1",
    "--readers",
    "1",
    "--uploads",
    "1",
    "--channel-capacity",
    "1",
    "--memory-budget",
    "24MiB",
];

/// A run of the program that has ended.
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl Ran {
    /// Asserts the exit code. If it differs, the message has everything that the program printed.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}\n{}", self.what, self.stdout, self.stderr))
    }

    /// Asserts that stderr contains a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Ran {
        assert!(
            self.stderr.contains(text),
            "{} does not say {text:?}:\n{}",
            self.what,
            self.stderr
        );
        self
    }
}

pub(crate) struct Lab {
    _folder: TempDir,
    pub root: PathBuf,
    /// The vault's URL: a folder below `root`, unless the vault is on a server.
    url: OsString,
    /// The environment variables that the program needs to reach the vault.
    env: Vec<(String, String)>,
}

impl Lab {
    /// An empty lab.
    pub(crate) fn empty() -> Lab {
        let folder = tempfile::Builder::new().prefix("lockstone-it-").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("source")).unwrap();
        let url = root.join("vault").into_os_string();
        Lab {
            _folder: folder,
            root,
            url,
            env: Vec::new(),
        }
    }

    /// An empty lab with its vault on a server.
    pub(crate) fn elsewhere(url: &str, env: &[(String, String)]) -> Lab {
        let mut lab = Lab::empty();
        lab.url = url.into();
        lab.env = env.to_vec();
        lab
    }

    /// Sets an environment variable of the program from now on.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.env.retain(|(name, _)| name != variable);
        self.env.push((variable.to_owned(), value.to_owned()));
    }

    /// A lab with a vault and a registered server, ready to back up.
    pub(crate) fn new() -> Lab {
        let lab = Lab::empty();
        lab.create_vault();
        lab.register("home", "server", &[]).exits(0);
        lab
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root.join(name.as_ref())
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.path("test.vaultcredentials")
    }

    pub(crate) fn create_vault(&self) {
        self.run(["vault".as_ref(), "create".as_ref(), self.url.as_os_str()])
            .exits(0);
        self.issue(&[]);
    }

    pub(crate) fn issue(&self, more: &[&str]) {
        let file = self.credentials();
        let mut args: Vec<&OsStr> = vec![
            "vault".as_ref(),
            "credentials".as_ref(),
            self.url.as_ref(),
            "--out".as_ref(),
            file.as_ref(),
        ];
        args.extend(more.iter().map(OsStr::new));
        self.run(args).exits(0);
    }

    pub(crate) fn register(&self, home: &str, name: &str, more: &[&str]) -> Ran {
        let mut command = self.registering(home, name);
        command.arg("--credentials").arg(self.credentials()).args(more);
        finish(command)
    }

    /// The command that registers the state folder `home`, without its credentials.
    pub(crate) fn registering(&self, home: &str, name: &str) -> Command {
        let mut command = self.command(home);
        command.args([
            "register",
            "--json",
            "--kdf-memory-mib",
            "8",
            "--kdf-passes",
            "1",
            "--server-name",
            name,
        ]);
        command
    }

    /// The command that runs the program with the state folder `home`.
    pub(crate) fn command(&self, home: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstone"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC")
            .env("LOCKSTONE_HOME", self.path(home))
            .env("LOCKSTONE_PASSPHRASE", PASSPHRASE)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.root)
            .stdin(Stdio::null());
        if let Some(folder) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", folder);
        }
        command
    }

    /// Runs the program with the state folder `home`.
    pub(crate) fn run_in<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, home: &str, args: I) -> Ran {
        let mut command = self.command(home);
        command.args(args);
        finish(command)
    }

    /// Runs the program.
    pub(crate) fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        self.run_in("home", args)
    }

    /// Backs up the source, which must succeed (exit 0), and returns the report.
    #[track_caller]
    pub(crate) fn backup(&self) -> Value {
        self.backup_with(&[]).exits(0).json()
    }

    pub(crate) fn backup_with(&self, more: &[&str]) -> Ran {
        let mut args: Vec<OsString> = vec!["backup".into(), "--json".into(), self.source().into()];
        args.extend(more.iter().map(OsString::from));
        self.run(args)
    }

    /// Restores a point to a new folder; returns the folder and the report.
    #[track_caller]
    pub(crate) fn restore(&self, point: &str, to: &str) -> (PathBuf, Value) {
        let target = self.path(to);
        let args: [&OsStr; 5] = [
            "restore".as_ref(),
            point.as_ref(),
            "--json".as_ref(),
            "--target".as_ref(),
            target.as_ref(),
        ];
        let report = self.run(args).exits(0).json();
        (self.restored(to), report)
    }

    /// The path of the restored source below a restore's target.
    pub(crate) fn restored(&self, to: &str) -> PathBuf {
        self.path(to).join(self.source().strip_prefix("/").unwrap())
    }

    /// Asserts that a full check finds nothing.
    #[track_caller]
    pub(crate) fn check_clean(&self) {
        let report = self.run(["check", "--read-data", "--json"]).exits(0).json();
        assert_eq!(report["ok"], true, "{report}");
    }

    /// Starts the program and does not wait for its end.
    pub(crate) fn spawn<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Child {
        let mut command = self.command("home");
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// The paths of all objects in the vault.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.vault()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    found.push(path)
                }
            }
        }
        found.sort();
        found
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        what,
    }
}

/// Runs a command to its end, and says how much memory it had at most, in bytes.
pub(crate) fn finish_and_measure(mut command: Command) -> (Ran, u64) {
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let waiting = std::thread::spawn(move || child.wait_with_output().unwrap());
    let mut peak = 0;
    while !waiting.is_finished() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = waiting.join().unwrap();
    let ran = Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        what,
    };
    (ran, peak)
}

/// Whether the test runs as root, who can create devices and set owners. If not, prints that a part is skipped.
pub(crate) fn root_or_skip(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {what} needs root");
    }
    root
}

/// Bytes that look random; the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Flips one bit of a file.
pub(crate) fn flip(path: &Path, at: u64) {
    let mut content = std::fs::read(path).unwrap();
    let at = usize::try_from(at).unwrap() % content.len();
    content[at] ^= 0x10;
    replace(path, &content);
}

/// Overwrites an object, whatever its permissions.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}
