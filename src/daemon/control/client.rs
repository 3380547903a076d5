//! Asks the daemon of this state folder, if there is one.

use std::time::Duration;

use lockstone_proto::ids::JobId;
use serde::de::DeserializeOwned;

use crate::agent::state::folder::StateFolder;
use crate::agent::state::socket::SocketPath;
use crate::documents::control::{DaemonDocument, JobDocument, RefusalDocument};
use crate::failure::{Exit, Failure};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    #[expect(dead_code, reason = "the way to the socket may lead through its handle")]
    socket: SocketPath,
    /// What the daemon said first.
    pub(crate) daemon: DaemonDocument,
}

impl Client {
    /// The daemon of this state folder; `None` if none answers.
    pub(crate) async fn find(state: &StateFolder) -> Option<Client> {
        let socket = state.control_socket();
        if !socket.exists() {
            return None;
        }
        let socket = SocketPath::to(&socket).ok()?;
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .build()
            .ok()?;
        let answer = http.get(url("/v1/status")).timeout(ANSWER_WITHIN).send().await.ok()?;
        let daemon = read(answer.error_for_status().ok()?).await.ok()?;
        Some(Client { http, socket, daemon })
    }

    /// Whether a job runs or waits in the daemon.
    pub(crate) fn has(&self, job: JobId) -> bool {
        self.daemon.running == Some(job) || self.daemon.waiting.contains(&job)
    }

    /// Cancels a job that runs or waits in the daemon.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<(), Failure> {
        let _: JobDocument = self.post(&format!("/v1/jobs/{job}/cancel")).await?;
        Ok(())
    }

    /// Waits until nothing else runs in the daemon. `None` if the daemon does not answer.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        // It may take hours, so it has no limit of time.
        let asked = self.http.get(url("/v1/turn")).send().await.ok()?;
        let mut answer = asked.error_for_status().ok()?;
        let mut said = String::new();
        while !said.contains("granted") {
            let part = answer.chunk().await.ok()??;
            said.push_str(&String::from_utf8_lossy(&part));
        }
        Some(Turn { connection: answer })
    }

    async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self
            .http
            .post(url(path))
            .timeout(ANSWER_WITHIN)
            .send()
            .await
            .map_err(no_answer)?;
        if answer.status().is_success() {
            return read(answer).await;
        }
        let status = answer.status();
        let refusal: RefusalDocument = read(answer).await?;
        let exit = if status == reqwest::StatusCode::CONFLICT {
            Exit::Busy
        } else {
            Exit::Failed
        };
        Err(Failure::new(exit, "agent", refusal.message, refusal.hint))
    }
}

/// This process's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    #[expect(dead_code, reason = "the open connection holds the place in the queue")]
    connection: reqwest::Response,
}

/// The host is not looked at: the way leads through the socket.
fn url(path: &str) -> String {
    format!("http://lockstone{path}")
}

async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, Failure> {
    let text = answer.bytes().await.map_err(no_answer)?;
    serde_json::from_slice(&text).map_err(no_answer)
}

fn no_answer(error: impl std::fmt::Display) -> Failure {
    let message = format!("the agent did not answer: {error}");
    Failure::failed("agent", message, "see its log: `journalctl -u lockstone`")
}
