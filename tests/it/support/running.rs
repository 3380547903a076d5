//! Programs that run while a test looks at them: an agent, slow jobs, and signals to them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lab::{Lab, noise};
use super::tree::file;
use super::web::Started;

/// Starts the agent of the lab; returns it with the address of its metrics.
pub(crate) fn agent(lab: &Lab) -> (Started, String) {
    let mut command = lab.command("home");
    command
        .args(["agent", "--json", "--metrics-listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut agent = Started(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(agent.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let address = said["metrics"].as_str().unwrap();
    let address = address
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap();
    (agent, address.to_owned())
}

/// Starts a backup of the lab's source that runs until it is cancelled; returns it with the address of its metrics.
pub(crate) fn slow_backup(lab: &Lab) -> (Started, String) {
    for number in 0..5 {
        file(
            &lab.source().join(format!("large/{number}")),
            &noise(number + 1, 32 << 20),
        );
    }
    let mut command = lab.command("home");
    command
        .args(["backup", "--metrics-listen", "127.0.0.1:0", "--progress", "none"])
        // Small packs with a checkpoint after each, so that metrics change every few seconds.
        .args([
            "--upload-limit",
            "2MiB/s",
            "--memory-budget",
            "24MiB",
            "--checkpoint-seconds",
            "1",
        ])
        .arg(lab.source())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut backup = Started(command.spawn().unwrap());
    let mut lines = BufReader::new(backup.0.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        let address = line.strip_prefix("metrics at http://")?.strip_suffix("/metrics")?;
        Some(address.to_owned())
    });
    // The rest of the output must be read, or the program would block.
    std::thread::spawn(move || lines.for_each(drop));
    (backup, address.unwrap())
}

/// Adds files to the source, enough that a backup can be interrupted even if it reads them from memory.
pub(crate) fn large(lab: &Lab, seed: u64) {
    for number in 0..40 {
        file(
            &lab.source().join(format!("large/{seed}-{number}")),
            &noise(seed * 1000 + number, 1 << 20),
        );
    }
    for number in 0..500 {
        file(
            &lab.source().join(format!("small/{seed}/{number}")),
            &noise(number, 500),
        );
    }
}

/// Sends a signal to a program.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until the vault has more than `before` objects, or the program ends.
pub(crate) fn until_it_stores(lab: &Lab, child: &mut Child, before: usize) {
    for _ in 0..2000 {
        if lab.objects().len() > before || child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
