"""Installs the programs that have a package: restic, borg and zstd from Debian, rustic from its crate.

Other programs are compared if they are on the PATH. A program that cannot be installed is reported and left out.
"""

import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("LOCKSTONE_PEERS", Path.home() / ".cache/lockstone/peers"))
DEBIAN = {"restic": "restic", "borg": "borgbackup", "zstd": "zstd"}
CRATES = {"rustic": "rustic-rs"}


def find_installed():
    """Adds the folder of the installed programs to the PATH."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{CACHE / 'bin'}"


def install():
    """Installs the programs that are missing."""
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
    """Compiles a crate in its own target folder, which is removed at the end."""
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
