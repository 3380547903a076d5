"""The programs that are compared, and how each makes a repository, backs up and restores.

Each program has safe settings: encryption, its own checks, its own cache. Compression is zstd at level 3 if the program
has that option, and its default otherwise. All programs have the same few methods, which return the figures of one run.
Keys and registrations are made in `setup`, which is not measured.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from measure import run, stored_mib

PASSPHRASE = "correct horse battery staple"


class Program:
    """A program with a repository and a home of its own below `work`."""

    name = ""
    # Whether it restores holes. If not, it is not asked to restore a sparse tree, because that would fill the disk.
    restores_holes = True
    # The phases it takes part in, besides the first and the unchanged backup and the restore.
    phases = ("changed", "copy")
    # Whether Lockstone is compared with it. False for Lockstone itself and for the limits of the machine.
    is_peer = True

    def __init__(self, work):
        self.work = work
        self.repo = work / "repo"
        self.home = work / "home"
        self.home.mkdir(parents=True)

    @classmethod
    def binary(cls):
        """The path of the program, or None."""
        return shutil.which(cls.name)

    @classmethod
    def version(cls):
        """The version in one line."""
        said = subprocess.run([cls.binary(), "--version"], capture_output=True, text=True, check=False)
        return (said.stdout + said.stderr).strip().split("\n")[0]

    def env(self):
        """Its settings, as environment variables."""
        return {}

    def call(self, *arguments, ok=(0,), cwd=None):
        """Runs the program."""
        return run([self.binary(), *arguments], self.env(), cwd=cwd, ok=ok)

    def setup(self):
        """Makes the repository."""

    def backup(self, tree):
        """Backs a tree up."""

    def restore(self, tree, target):
        """Restores the last backup, which was of `tree`, to an empty folder."""

    def restored(self, tree, target):
        """Where the restored tree is below that folder."""
        return target / tree.relative_to("/")

    def stored(self):
        """MiB in the repository."""
        return stored_mib(self.repo)


class Lockstone(Program):
    """This checkout's release binary unless a path is given. A variant has more options."""

    name = "lockstone"
    is_peer = False
    path = None
    options = ()

    @classmethod
    def binary(cls):
        return shutil.which(cls.path)

    def env(self):
        return {"LOCKSTONE_HOME": str(self.home), "LOCKSTONE_PASSPHRASE": PASSPHRASE}

    def setup(self):
        credentials = self.work / "bench.vaultcredentials"
        self.call("vault", "create", self.repo)
        self.call("vault", "credentials", self.repo, "--out", credentials)
        self.call("register", "--credentials", credentials)

    def backup(self, tree):
        return self.call("backup", "-q", *self.options, tree)

    def restore(self, tree, target):
        return self.call("restore", "-q", "latest", "--target", target)


class Restic(Program):
    """restic; before 0.15 it cannot restore holes."""

    name = "restic"
    restores_holes = False

    @classmethod
    def version(cls):
        said = subprocess.run([cls.binary(), "version"], capture_output=True, text=True, check=False)
        return said.stdout.strip()

    def env(self):
        return {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_REPOSITORY": str(self.repo), "RESTIC_CACHE_DIR": str(self.home)}

    def setup(self):
        self.call("init", "-q")

    def backup(self, tree):
        return self.call("backup", "-q", tree)

    def restore(self, tree, target):
        return self.call("restore", "-q", "latest", "--target", target)


class Rustic(Program):
    """rustic; its repositories are restic's."""

    name = "rustic"

    def env(self):
        return {"RUSTIC_PASSWORD": PASSPHRASE, "RUSTIC_REPOSITORY": str(self.repo), "RUSTIC_CACHE_DIR": str(self.home),
                "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "warn", "HOME": str(self.home)}

    def setup(self):
        self.call("init", "--set-compression", "3")

    def backup(self, tree):
        return self.call("backup", tree)

    def restore(self, tree, target):
        return self.call("restore", f"latest:{tree}", target)

    def restored(self, tree, target):
        return target


class Borg(Program):
    """BorgBackup. Exit code 1 is a warning, not a failure: it warns about files that changed a moment ago."""

    name = "borg"

    def env(self):
        return {"BORG_PASSPHRASE": PASSPHRASE, "BORG_REPO": str(self.repo), "BORG_BASE_DIR": str(self.home)}

    def setup(self):
        self.count = 0
        self.call("init", "-e", "repokey-blake2")

    def backup(self, tree):
        self.count += 1
        return self.call("create", "-C", "zstd,3", f"::a{self.count}", tree, ok=(0, 1))

    def restore(self, tree, target):
        target.mkdir(parents=True)
        return self.call("extract", "--sparse", f"::a{self.count}", cwd=target)


class Vykar(Program):
    """Vykar, with lz4, its default. It has no option for the sources of a whole run, so each has a configuration."""

    name = "vykar"
    restores_holes = False

    def env(self):
        return {"VYKAR_PASSPHRASE": PASSPHRASE, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home)}

    def configured(self, tree, *arguments):
        """Runs the program with a configuration for this tree."""
        config = self.work / "vykar.yaml"
        config.write_text(f'cache_dir: "{self.home / "cache"}"\nrepositories:\n  - url: "{self.repo}"\n'
                          f'sources:\n  - path: "{tree}"\n    label: "{tree.name}"\n')
        return self.call("--config", config, *arguments)

    def setup(self):
        self.configured(Path("/nowhere"), "init")

    def backup(self, tree):
        return self.configured(tree, "backup")

    def restore(self, tree, target):
        return self.configured(tree, "restore", "latest", target)

    def restored(self, tree, target):
        return target


class Kopia(Program):
    """Kopia."""

    name = "kopia"
    restores_holes = False

    def env(self):
        return {"KOPIA_PASSWORD": PASSPHRASE, "KOPIA_CONFIG_PATH": str(self.home / "config"),
                "KOPIA_CACHE_DIRECTORY": str(self.home / "cache"), "KOPIA_LOG_DIR": str(self.home / "log"),
                "KOPIA_CHECK_FOR_UPDATES": "false"}

    def setup(self):
        self.repo.mkdir()
        self.call("repository", "create", "filesystem", "--path", self.repo)
        self.call("policy", "set", "--global", "--compression", "zstd")

    def backup(self, tree):
        return self.call("snapshot", "create", "--no-progress", tree)

    def restore(self, tree, target):
        return self.call("restore", "--no-progress", tree, target)

    def restored(self, tree, target):
        return target


class Limits(Program):
    """No backup program, but what the machine's own tools need for about the same work, without keys and without dedup:
    the bars of the issue are set by them, too."""

    name = "limits"
    phases = ()
    is_peer = False
    threads = len(os.sched_getaffinity(0))

    @classmethod
    def binary(cls):
        return shutil.which("zstd") and shutil.which("tar")

    @classmethod
    def version(cls):
        return f"tar | zstd -3 -T{cls.threads} · find -printf · zstd -d | tar x"

    def shell(self, script, *paths):
        """Runs a shell script. Its paths are $1, $2, …"""
        return run(["bash", "-o", "pipefail", "-c", script, "bash", *paths])

    def setup(self):
        self.repo.mkdir()
        self.times = 0

    def backup(self, tree):
        self.times += 1
        if self.times == 1:
            command = f'tar --sparse --format=posix -C / -cf - "${{1#/}}" | zstd -3 -T{self.threads} -q -o "$2"'
            return self.shell(command, tree, self.repo / "all.tar.zst")
        # If nothing changed, nothing has to be stored: the least work is to look at every file.
        return self.shell(r"find $1 -printf '%p %s %T@ %C@ %i\n'", tree)

    def restore(self, tree, target):
        target.mkdir(parents=True)
        return self.shell('zstd -q -dc "$1" | tar -x -C "$2"', self.repo / "all.tar.zst", target)


ALL = (Lockstone, Vykar, Restic, Rustic, Borg, Kopia, Limits)


def variant(text):
    """`NAME=OPTIONS` or `NAME=PATH OPTIONS`: Lockstone once more, with other options of `backup` or another binary."""
    name, _, words = text.partition("=")
    words = shlex.split(words)
    path = words.pop(0) if words and not words[0].startswith("-") else Lockstone.path
    return type(name, (Lockstone,), {"name": name, "path": path, "options": tuple(words)})
