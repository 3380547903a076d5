//! Real object stores on loopback, each for one test: moto (S3), Azurite (Azure Blob) and Ceph's radosgw (S3). They
//! listen on free ports and end with the test, however it ends (`tests/servers/run.sh`). If one is not installed, the
//! test prints that it is skipped; `make setup-tests` installs them.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No server lives longer than this, in seconds.
const LIMIT: &str = "600";
/// The bucket or container that each server has.
const BUCKET: &str = "vaults";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";
/// The account that every Azurite has.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running server. Dropping it ends the server.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    _folder: TempDir,
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    scheme: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its standard input ends.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

impl Server {
    /// The URL of a vault on this server.
    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("{}://{BUCKET}/{prefix}", self.scheme)
    }

    /// The environment variables that a program needs to reach the server at `endpoint`.
    pub(crate) fn env_at(&self, endpoint: &str) -> Vec<(String, String)> {
        let pairs = if self.scheme == "az" {
            let endpoint = format!("{endpoint}/{ACCOUNT}");
            vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned()),
                ("AZURE_STORAGE_ENDPOINT", endpoint),
            ]
        } else {
            vec![
                ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
                ("AWS_ENDPOINT_URL", endpoint.to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
            ]
        };
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.env_at(&self.endpoint)
    }

    fn start(command: &Path, args: &[&str], port: u16, scheme: &'static str) -> Server {
        let folder = tempfile::Builder::new().prefix("lockstone-server-").tempdir().unwrap();
        let mut run = Command::new(script("run.sh"));
        run.arg(LIMIT).arg(command).args(args).current_dir(folder.path());
        let mut child = run
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Server {
            child,
            stdin,
            stdout: None,
            _folder: folder,
            endpoint: format!("http://127.0.0.1:{port}"),
            scheme,
        }
    }

    fn wait(&mut self) {
        let address = self.endpoint.trim_start_matches("http://").to_owned();
        let end = Instant::now() + Duration::from_secs(90);
        while TcpStream::connect(&address).is_err() {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "the server at {address} ended"
            );
            assert!(Instant::now() < end, "the server at {address} does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a line to Ceph's script and waits until it is obeyed.
    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.line(), "done", "{order}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

/// A file below the folder into which `make setup-tests` installs.
fn tool(name: &str) -> Option<PathBuf> {
    let set = std::env::var_os("LOCKSTONE_TEST_TOOLS").map(PathBuf::from);
    let usual = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/lockstone"));
    let found = set.or(usual)?.join(name);
    found.exists().then_some(found)
}

fn skipped<T>(what: &str) -> Option<T> {
    eprintln!("SKIPPED: no {what} here (make setup-tests installs it)");
    None
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A moto server with the S3 API. It does not check keys.
pub(crate) fn moto() -> Option<Server> {
    let (Some(_), Some(python)) = (tool("venv/bin/moto_server"), tool("venv/bin/python")) else {
        return skipped("moto");
    };
    let port = free_port();
    let begin = script("s3.py");
    let args = [begin.to_str().unwrap(), &port.to_string()];
    let mut server = Server::start(&python, &args, port, "s3");
    server.wait();
    let url = format!("{}/{BUCKET}", server.endpoint);
    let made = block_on(async { reqwest::Client::new().put(url).send().await.unwrap().status() });
    assert!(made.is_success(), "{made}");
    Some(server)
}

/// An Azurite server with the Azure Blob API.
pub(crate) fn azurite() -> Option<Server> {
    let Some(program) = tool("azurite/node_modules/.bin/azurite-blob") else {
        return skipped("Azurite");
    };
    let port = free_port();
    let port_text = port.to_string();
    let args = [
        "--silent",
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
    ];
    let args: Vec<&str> = args.into_iter().chain([port_text.as_str()]).collect();
    let mut server = Server::start(&program, &args, port, "az");
    server.wait();
    let mut node = Command::new("node");
    node.arg(script("container.mjs"));
    node.args([&format!("{}/{ACCOUNT}", server.endpoint), ACCOUNT, ACCOUNT_KEY, BUCKET]);
    crate::support::lab::finish(node).exits(0);
    Some(server)
}

/// A Ceph cluster: a monitor, a manager, three OSDs and the gateway.
pub(crate) fn ceph() -> Option<Server> {
    let has = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    let needs = [
        "ceph-mon",
        "ceph-mgr",
        "ceph-osd",
        "radosgw",
        "radosgw-admin",
        "ceph",
        "monmaptool",
        "curl",
    ];
    if !needs.into_iter().all(has) {
        return skipped("Ceph");
    }
    if !crate::support::lab::root_or_skip("Ceph") {
        return None;
    }
    let folder = tempfile::Builder::new().prefix("lockstone-ceph-").tempdir().unwrap();
    let port = ports_in_a_row();
    let mut command = Command::new("timeout");
    command
        .args(["-k", "5", LIMIT])
        .arg(script("ceph.sh"))
        .arg(folder.path().join("data"));
    command.args([&port.to_string(), KEY, SECRET, BUCKET]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
    let mut server = Server {
        child,
        stdin,
        stdout,
        _folder: folder,
        endpoint: format!("http://127.0.0.1:{port}"),
        scheme: "s3",
    };
    assert_eq!(server.line(), "ready", "Ceph did not start; its reasons are above");
    Some(server)
}

/// The first of three ports that were free a moment ago.
fn ports_in_a_row() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut tries = std::iter::repeat_with(free_port);
    tries
        .find(|port| *port < 65_000 && free(port + 1) && free(port + 2))
        .unwrap()
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(work)
}
