//! The examples of the manual pages.

use std::fmt::Write as _;

/// What it does, and the command.
type Example = (&'static str, &'static str);

/// The examples of a page. Every command that is shown has one or more.
fn examples(page: &str) -> &'static [Example] {
    match page {
        "lockstone" => &[
            (
                "Back up two folders, and look at what there is:",
                "lockstone backup /etc /home; lockstone points list",
            ),
            (
                "Get everything back into a folder:",
                "lockstone restore latest --target /mnt/back",
            ),
        ],
        "lockstone-vault" | "lockstone-vault-create" => &[
            ("Make a vault in a folder:", "lockstone vault create /srv/vault"),
            ("Make one in a bucket:", "lockstone vault create s3://backups/vault"),
        ],
        "lockstone-vault-credentials" => &[(
            "Let a server register within the next two days:",
            "lockstone vault credentials /srv/vault --out web1 --valid-days 2",
        )],
        "lockstone-vault-servers" => &[("List the servers:", "lockstone vault servers /srv/vault")],
        "lockstone-vault-jobs" => &[(
            "The jobs of one server:",
            "lockstone vault jobs /srv/vault --server web1",
        )],
        "lockstone-vault-info" => &[("What a vault is:", "lockstone vault info /srv/vault")],
        "lockstone-vault-revoke" => &[
            (
                "A machine was stolen on Sunday:",
                "lockstone vault revoke /srv/vault --server web1 --since 2026-11-22 --reason 'stolen'",
            ),
            (
                "A credentials file went astray:",
                "lockstone vault revoke /srv/vault --credential web1.vaultcredentials",
            ),
        ],
        "lockstone-vault-tenant" => &[(
            "Move a vault to another tenant:",
            "lockstone vault tenant /srv/vault 'Example Ltd.'",
        )],
        "lockstone-credentials" | "lockstone-credentials-show" => &[(
            "What a file admits to, and until when:",
            "lockstone credentials show web1.vaultcredentials",
        )],
        "lockstone-vault-points" => &[("All recovery points:", "lockstone vault points /srv/vault")],
        "lockstone-register" => &[
            (
                "Register a new server:",
                "lockstone register --credentials web1.vaultcredentials",
            ),
            (
                "Share the backups of another server:",
                "lockstone register --credentials web2.vaultcredentials --join-domain web1",
            ),
        ],
        "lockstone-alerts" | "lockstone-alerts-list" => &[("What went wrong lately:", "lockstone alerts list -n 10")],
        "lockstone-unregister" => &[("Forget the registration:", "lockstone unregister")],
        "lockstone-status" => &[("Warn from cron:", "lockstone status --json || mail -s 'backups' root")],
        "lockstone-backup" => &[
            (
                "Leave some files out:",
                "lockstone backup /etc /home --exclude '**/node_modules' --exclude '*.tmp'",
            ),
            (
                "Stay on one file system, and name the point:",
                "lockstone backup /srv -x --label 'before the move'",
            ),
        ],
        "lockstone-restore" => &[
            (
                "Everything into a folder:",
                "lockstone restore latest --target /tmp/back",
            ),
            (
                "One folder to its place, over what is there:",
                "lockstone restore 3f9c02 /etc/nginx --original --on-conflict overwrite",
            ),
            (
                "A folder just as it was, and nothing else in it:",
                "lockstone restore latest /srv/data --original --on-conflict overwrite --delete --dry-run",
            ),
            (
                "On another machine:",
                "lockstone restore latest --target /mnt --credentials web1.vaultcredentials --source-server web1",
            ),
        ],
        "lockstone-dump" => &[
            (
                "Compare a file with what it was:",
                "lockstone dump latest /etc/fstab | diff - /etc/fstab",
            ),
            (
                "A folder on another machine:",
                "lockstone dump latest /etc | ssh other tar -xf - -C /srv/old",
            ),
        ],
        _ => more(page),
    }
}

fn more(page: &str) -> &'static [Example] {
    match page {
        "lockstone-check" => &[
            ("Read a tenth of the data:", "lockstone check --read-data=10"),
            (
                "Read a share each day, all of it within a month:",
                "lockstone check --within 30d",
            ),
            ("Heal what can be healed:", "lockstone check --read-data --repair"),
        ],
        "lockstone-gc" => &[("See what would be freed:", "lockstone gc --dry-run")],
        "lockstone-test-restore" => &[("Try 50 files:", "lockstone test-restore --files 50")],
        "lockstone-points" | "lockstone-points-list" => &[("List the recovery points:", "lockstone points list")],
        "lockstone-points-ls" => &[("List a folder in the newest point:", "lockstone points ls latest /etc")],
        "lockstone-points-diff" => &[(
            "What has changed between two points:",
            "lockstone points diff 3f9c02 latest",
        )],
        "lockstone-points-find" => &[("Find files by name:", "lockstone points find '*.conf'")],
        "lockstone-points-delete" => &[("Delete a point:", "lockstone points delete 3f9c02")],
        "lockstone-points-history" => &[(
            "Every version of a file:",
            "lockstone points history /etc/nginx/nginx.conf",
        )],
        "lockstone-points-hold" => &[(
            "Keep a point for an audit:",
            "lockstone points hold 3f9c02 --reason 'the audit' --until 2027-12-31",
        )],
        "lockstone-points-release" => &[("Let it go again:", "lockstone points release 3f9c02")],
        "lockstone-points-undelete" => &[("Bring it back:", "lockstone points undelete 3f9c02")],
        "lockstone-jobs" | "lockstone-jobs-list" => &[("The last ten jobs:", "lockstone jobs list -n 10")],
        "lockstone-jobs-show" => &[("Everything about one job:", "lockstone jobs show aaae4bc0")],
        "lockstone-jobs-cancel" => &[("Stop the job that runs:", "lockstone jobs cancel aaae4bc0")],
        "lockstone-passphrase" | "lockstone-passphrase-change" => {
            &[("Change the passphrase:", "lockstone passphrase change")]
        }
        "lockstone-passphrase-regenerate" => &[(
            "The passphrase is lost, the machine is not:",
            "lockstone passphrase regenerate",
        )],
        "lockstone-passphrase-recovery-key" => &[("Make a new recovery key:", "lockstone passphrase recovery-key")],
        "lockstone-passphrase-slots" => &[("What opens these backups:", "lockstone passphrase slots")],
        "lockstone-passphrase-revoke" => &[(
            "End the key of a machine that is gone:",
            "lockstone passphrase revoke 5f0c11d2",
        )],
        "lockstone-passphrase-validate" => &[("Try whether one is right:", "lockstone passphrase validate")],
        "lockstone-cache" | "lockstone-cache-move" => &[(
            "Put the cache on another disk:",
            "lockstone cache move /mnt/fast/lockstone",
        )],
        "lockstone-cache-rules" => &[
            ("Show how much space must be free:", "lockstone cache rules"),
            (
                "Ask for less:",
                "lockstone cache rules --refuse-percent 1 --warn-percent 2 --system-state-bytes 1GiB",
            ),
        ],
        "lockstone-cache-check" => &[("Compare it with the vault:", "lockstone cache check")],
        "lockstone-cache-rebuild" => &[("Make it anew:", "lockstone cache rebuild")],
        "lockstone-throttle" | "lockstone-throttle-set" => &[(
            "Be slow in working hours:",
            "lockstone throttle set --upload 200Mbps --window 'mon-fri 08:00-18:00 20Mbps'",
        )],
        "lockstone-throttle-show" => &[("What is in force:", "lockstone throttle show")],
        "lockstone-throttle-clear" => &[("No limits any more:", "lockstone throttle clear")],
        "lockstone-agent" => &[("Serve metrics:", "lockstone agent --metrics-listen 127.0.0.1:9469")],
        "lockstone-volumes" => &[("List the volumes:", "lockstone volumes")],
        "lockstone-bench" | "lockstone-bench-primitives" => {
            &[("What this machine can do:", "lockstone bench primitives")]
        }
        "lockstone-bench-throttle" => &[("How exactly limits are kept:", "lockstone bench throttle --help")],
        "lockstone-demo" => &[("A round trip on your own files:", "lockstone demo /usr/share/doc")],
        "lockstone-completions" => &[(
            "For bash:",
            "lockstone completions bash >/etc/bash_completion.d/lockstone",
        )],
        "lockstone-man" => &[("Install all pages:", "lockstone man /usr/local/share/man/man1")],
        _ => policy(page),
    }
}

fn policy(page: &str) -> &'static [Example] {
    match page {
        "lockstone-protection" | "lockstone-protection-stop" => &[
            (
                "No more backups; what is there ages as the policy says:",
                "lockstone protection stop --keep-data",
            ),
            (
                "Delete all recovery points of this server:",
                "lockstone protection stop --delete-data",
            ),
        ],
        "lockstone-protection-resume" => &[("Begin again:", "lockstone protection resume")],
        "lockstone-protection-show" => &[("Is this server protected?", "lockstone protection show")],
        "lockstone-guard" | "lockstone-guard-show" => &[("Did a backup look strange?", "lockstone guard show")],
        "lockstone-guard-clear" => &[("Somebody has looked:", "lockstone guard clear")],
        "lockstone-policy" | "lockstone-policy-set" => &[
            (
                "Write a policy, change it, and put it in force:",
                "lockstone policy init --file policy.toml",
            ),
            (
                "Then, and after each change:",
                "lockstone policy set --file policy.toml",
            ),
        ],
        "lockstone-policy-init" => &[("Print the example:", "lockstone policy init")],
        "lockstone-policy-show" => &[("What is in force:", "lockstone policy show")],
        "lockstone-policy-pause" => &[("Forget nothing for a while:", "lockstone policy pause")],
        "lockstone-policy-resume" => &[("Go on:", "lockstone policy resume")],
        "lockstone-policy-preview" => &[(
            "What a policy does in a year:",
            "lockstone policy preview --file policy.toml --from 2027-01-01 --to 2028-01-01",
        )],
        _ => &[],
    }
}

/// The section of a page; nothing if it has no examples.
pub(super) fn section(page: &str) -> String {
    let examples = examples(page);
    if examples.is_empty() {
        return String::new();
    }
    let mut section = ".SH EXAMPLES\n".to_owned();
    for (what, command) in examples {
        let command = command.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        let _ = write!(section, ".TP\n{what}\n\\fB{command}\\fR\n");
    }
    section
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_example_is_understood() {
        let mut command = crate::cli::args::command();
        command.build();
        for command in super::super::all(&command) {
            let page = super::super::page_name(command);
            for (_, example) in examples(page) {
                for part in example
                    .split("; ")
                    .flat_map(|part| part.split(" || "))
                    .flat_map(|part| part.split(" | "))
                {
                    let part = part.split(" >").next().unwrap();
                    if !part.starts_with("lockstone") || part.ends_with("--help") {
                        continue;
                    }
                    let words: Vec<String> = words(part);
                    assert!(Cli::try_parse_from(&words).is_ok(), "{example}");
                }
            }
        }
    }

    /// The words of a command, as a shell takes them.
    fn words(line: &str) -> Vec<String> {
        let pieces = line.split('\'').enumerate();
        let mut words: Vec<String> = Vec::new();
        for (at, piece) in pieces {
            if at % 2 == 1 {
                words.push(piece.to_owned());
            } else {
                words.extend(piece.split_whitespace().map(str::to_owned));
            }
        }
        words
    }
}
