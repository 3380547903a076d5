//! Helpers that the tests of several modules share.

use crate::process::is_root;

/// Runs a closure without root's rights, on a thread of its own: in Linux rights belong to a thread.
pub(crate) fn without_rights<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let body = || {
        set_capabilities(None, none).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(body).join().unwrap())
}

/// Whether the tests run as root. If not, prints which test is skipped.
pub(crate) fn root_for(what: &str) -> bool {
    if !is_root() {
        eprintln!("SKIPPED: {what} needs root");
    }
    is_root()
}

/// Runs a program, which must succeed, and returns what it printed.
pub(crate) fn run(program: &str, args: &[&std::ffi::OsStr]) -> Vec<u8> {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A mount point; dropping it unmounts it.
pub(crate) struct Mounted(pub(crate) std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

/// Makes a btrfs file system in the file `image` of this folder and mounts it at `mount` there. Needs root.
pub(crate) fn mounted_btrfs(top: &std::path::Path) -> Mounted {
    let (image, at) = (top.join("image"), top.join("mount"));
    std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    run("mkfs.btrfs", &["-q".as_ref(), image.as_os_str()]);
    std::fs::create_dir(&at).unwrap();
    run(
        "mount",
        &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()],
    );
    Mounted(at)
}
