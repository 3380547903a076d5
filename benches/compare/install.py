"""Installs the programs to compare with, as far as a package of them exists: restic, borg and zstd from Debian, rustic
from its crate. Others are compared where they are on the PATH. What cannot be installed is said, and left out.
"""

import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("LOCKSTONE_PEERS", Path.home() / ".cache/lockstone/peers"))
DEBIAN = {"restic": "restic", "borg": "borgbackup", "zstd": "zstd"}
CRATES = {"rustic": "rustic-rs"}


def find_installed():
    """Makes what was installed by this program part of the PATH."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{CACHE / 'bin'}"


def install():
    """Installs what is missing."""
    packages = [package for program, package in DEBIAN.items() if not shutil.which(program)]
    if packages:
        from_debian(packages)
    for program, crate in CRATES.items():
        if not shutil.which(program):
            from_crate(program, crate)


def from_debian(packages):
    """Installs packages by apt-get."""
    if not shutil.which("apt-get"):
        print(f"no apt-get here; please install {', '.join(packages)}")
        return
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    for command in (["apt-get", "update", "-q"],
                    ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", *packages]):
        if subprocess.run([*sudo, *command], stdout=subprocess.DEVNULL, check=False).returncode != 0:
            print(f"could not install {', '.join(packages)}")
            return


def from_crate(program, crate):
    """Compiles a crate, in a target folder that is removed when it is done: it is not this project's."""
    if not shutil.which("cargo"):
        print(f"no cargo here; please install {program}")
        return
    print(f"compiling {program} (some minutes, once; it is kept in {CACHE})", flush=True)
    target = CACHE / "target"
    done = subprocess.run(["cargo", "install", "--locked", "--quiet", "--root", str(CACHE), crate], cwd="/",
                          env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=False)
    shutil.rmtree(target, ignore_errors=True)
    if done.returncode != 0:
        print(f"could not compile {program}")
