//! The name that a server registers with.

use lockstone_vault::access::registration::NAME_MAX;

use crate::agent::state::host::Host;
use crate::failure::Failure;

/// The name that was given, or the host name. Fails with `usage` if it cannot be a server's name.
pub(super) fn server_name(given: Option<&str>) -> Result<String, Failure> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => host_name()?,
    };
    let is_bad = name.is_empty() || name.len() > NAME_MAX || name.trim() != name || name.chars().any(char::is_control);
    if is_bad {
        let hint = format!("1 to {NAME_MAX} bytes, on one line, without blanks at the ends");
        return Err(Failure::usage(format!("{name:?} cannot be a server's name"), hint));
    }
    Ok(name)
}

fn host_name() -> Result<String, Failure> {
    Host::now().name.ok_or_else(|| {
        Failure::usage(
            "this machine's name is not known",
            "give a name with `--server-name NAME`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_name_that_fits_on_a_line() {
        assert!(matches!(server_name(Some("web-1")).as_deref(), Ok("web-1")));
        for bad in ["", " a", "a\nb", &"x".repeat(NAME_MAX + 1)] {
            assert!(server_name(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
