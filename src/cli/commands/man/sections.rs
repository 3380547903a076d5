//! The sections of a manual page that clap knows nothing of.

use std::fmt::Write as _;

use clap::Command;

/// The same on every page: exit codes, environment and files.
pub(super) const COMMON: &str = r#".SH EXIT STATUS
.TP
\fB0\fR
done
.TP
\fB1\fR
failed
.TP
\fB2\fR
the command line makes no sense
.TP
\fB3\fR
done, with warnings
.TP
\fB4\fR
cancelled
.TP
\fB5\fR
refused: wrong passphrase or key, bad or expired credentials, not permitted
.TP
\fB6\fR
the vault is damaged
.TP
\fB7\fR
busy: another job runs on this server
.TP
\fB8\fR
this server is not registered; for \fBregister\fR: it is registered already
.SH ENVIRONMENT
.TP
\fBLOCKSTONE_HOME\fR
the state folder; by default /var/lib/lockstone for root, else $XDG_STATE_HOME/lockstone or ~/.local/state/lockstone
.TP
\fBLOCKSTONE_PASSPHRASE\fR, \fBLOCKSTONE_PASSPHRASE_FILE\fR
the passphrase, or a file that holds it
.TP
\fBLOCKSTONE_NEW_PASSPHRASE\fR, \fBLOCKSTONE_NEW_PASSPHRASE_FILE\fR
the new passphrase of \fBpassphrase change\fR
.TP
\fBLOCKSTONE_LOG\fR, \fBRUST_LOG\fR
the log level, if \fB\-\-log\-level\fR is not given
.TP
\fBAWS_ACCESS_KEY_ID\fR, \fBAWS_SECRET_ACCESS_KEY\fR, \fBAWS_SESSION_TOKEN\fR, \fBAWS_REGION\fR, \fBAWS_ENDPOINT_URL\fR
keys, region and endpoint of a vault at s3://
.TP
\fBAZURE_STORAGE_ACCOUNT_NAME\fR, \fBAZURE_STORAGE_ACCOUNT_KEY\fR, \fBAZURE_STORAGE_SAS_TOKEN\fR, \fBAZURE_STORAGE_ENDPOINT\fR
account, keys and endpoint of a vault at az://
.TP
\fBTMPDIR\fR
where \fBrestore \-\-credentials\fR and \fBdemo\fR keep what is temporary
.TP
\fBNO_COLOR\fR
no colours in help and in usage errors
.SH FILES
All of these are in the state folder.
.TP
\fBagent.json\fR, \fBmachine.key\fR
the registration of this server, and its key
.TP
\fBoperator/\fIVAULT\fB.key\fR
the operator's key of a vault that was created on this machine
.TP
\fBstore.json\fR
the variables of the object store in lower case, for services and cron (mode 0600): {"aws_access_key_id": "…", …}
.TP
\fBthrottle.json\fR
what \fBthrottle set\fR has set
.TP
\fBjobs/\fR
the records of this server's jobs
.TP
\fBcache/\fR
can be rebuilt; \fBcache move\fR puts it elsewhere
"#;

/// The pages of the commands above and below, and of those that are used together.
pub(super) fn see_also(command: &Command) -> String {
    let name = super::page_name(command);
    let mut pages: Vec<String> = Vec::new();
    if let Some((above, _)) = name.rsplit_once('-') {
        pages.push(above.to_owned());
        pages.push("lockstone".to_owned());
    }
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    pages.extend(below.map(|command| super::page_name(command).to_owned()));
    let together: &[&str] = match name {
        "lockstone-backup" => &["lockstone-restore", "lockstone-points-list", "lockstone-throttle"],
        "lockstone-restore" => &["lockstone-points-ls", "lockstone-points-find", "lockstone-backup"],
        "lockstone-check" => &["lockstone-backup", "lockstone-restore"],
        "lockstone-register" => &["lockstone-vault-credentials", "lockstone-unregister"],
        "lockstone-vault-create" => &["lockstone-vault-credentials"],
        "lockstone-status" => &["lockstone-jobs-list", "lockstone-points-list"],
        _ => &["lockstone-backup"],
    };
    pages.extend(together.iter().map(|&page| page.to_owned()));
    let mut seen = std::collections::BTreeSet::new();
    pages.retain(|page| page != name && seen.insert(page.clone()));
    let mut section = ".SH SEE ALSO\n".to_owned();
    for (at, page) in pages.iter().enumerate() {
        let comma = if at + 1 < pages.len() { "," } else { "" };
        let _ = writeln!(section, ".BR {} (1){comma}", page.replace('-', "\\-"));
    }
    section
}
