"""Debian packages unpacked into a private prefix: a server of another release, the host untouched.

Theory. ``apt-get`` runs on lists, caches and an *empty* package status of its own, so it resolves the server's whole
dependency closure, libc included; signatures are checked by the distribution's own keyring as for any other
package. The closure is downloaded and unpacked into one folder, nothing is configured and no service exists. The
server is run by that folder's own dynamic loader, so neither the host's libc nor its libraries matter.

Layout: ``tree/`` the unpacked packages · ``bin/<program>`` a two-line script that starts it. The script finds the
rest relative to itself, so a prefix can be built under a temporary name and renamed when it is whole.

The mirror is the one that the host's apt already uses.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError

ATTEMPTS = 3
LISTS_TIMEOUT_S = 180.0
RESOLVE_TIMEOUT_S = 60.0
DOWNLOAD_TIMEOUT_S = 300.0
UNPACK_TIMEOUT_S = 120.0

_NOT_NEEDED = re.compile(r"^(perl|libperl|libgdbm|libdb5|libc-gconv|gcc-.*-base|mysql-common|mariadb-common)")
"""In the closure for maintenance scripts and character sets that a server on loopback never touches."""

_LEFT_OUT = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/lintian", "./usr/share/perl*")
_KEYRING_FOLDER = Path("/usr/share/keyrings")


@dataclass(frozen=True, slots=True)
class Archive:
    """Where packages come from: lines of a sources.list, without the ``deb`` and the options in front."""

    distribution: str
    lines: tuple[str, ...]

    @property
    def keyring(self) -> Path | None:
        for suffix in ("gpg", "pgp"):
            path = _KEYRING_FOLDER / f"{self.distribution}-archive-keyring.{suffix}"
            if path.exists():
                return path
        return None


def os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def archives(listing: str, distribution: str, codename: str) -> tuple[Archive, Archive]:
    """The host's own release, and Debian's sid on the same mirror.

    ``listing`` has a line ``URI RELEASE COMPONENT`` per package index of the host. Third-party repositories have other
    release names and fall out. Raises SandboxError if the release is not among them.
    """
    rows = [tuple(line.split()) for line in listing.splitlines() if len(line.split()) == 3]
    releases = (codename, f"{codename}-updates", f"{codename}-security")
    own = sorted({row for row in rows if row[1] in releases and row[2] in ("main", "universe")})
    base = [row[0] for row in own if row[1] == codename and row[2] == "main"]
    if not base:
        raise SandboxError(
            f"apt's sources name no mirror for {distribution} {codename}: add one, or install a database server"
        )
    return (
        Archive(distribution, tuple(" ".join(row) for row in own)),
        Archive(distribution, (f"{base[0]} sid main",)),
    )


def host_archives(release: dict[str, str]) -> tuple[Archive, Archive]:
    """``archives`` of this host."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listing = run(command, RESOLVE_TIMEOUT_S)
    return archives(listing, release.get("ID", ""), release.get("VERSION_CODENAME", ""))


class PrivateApt:
    """apt-get with a world of its own below ``folder``."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.folder = folder
        self.archive = archive
        self.downloads = folder / "debs"
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        keyring = archive.keyring
        if keyring is None:
            name = f"{archive.distribution}-archive-keyring"
            raise SandboxError(f"{name}.gpg is missing in {_KEYRING_FOLDER}: apt-get install {name}")
        lines = [f"deb [signed-by={keyring}] {line}\n" for line in archive.lines]
        (folder / "sources.list").write_text("".join(lines))

    def command(self, *arguments: str) -> list[str]:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": 3,
            "Acquire::http::Timeout": 30,
            "Acquire::https::Timeout": 30,
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["apt-get", "-qq", *flags, *arguments]

    def update(self) -> None:
        attempt(self.command("update", "--error-on=any"), LISTS_TIMEOUT_S)

    def closure(self, package: str) -> list[str]:
        """The package with all that it depends on, by name. Raises SandboxError if the archive has none."""
        printed = run(
            self.command("install", "-y", "--no-install-recommends", "--print-uris", package), RESOLVE_TIMEOUT_S
        )
        names = re.findall(r"^'[^']*' ([^_ ]+)_", printed, re.MULTILINE)
        return [name for name in names if not _NOT_NEEDED.match(name)]

    def candidate_version(self, package: str) -> str | None:
        """The version that would be installed, None if the archive has no such package."""
        command = ["apt-cache", *self.command()[2:], "policy", package]
        match = re.search(r"Candidate: (\S+)", run(command, RESOLVE_TIMEOUT_S))
        return None if match is None or match[1] == "(none)" else match[1]

    def download(self, packages: Sequence[str]) -> list[Path]:
        attempt(self.command("download", *packages), DOWNLOAD_TIMEOUT_S, self.downloads)
        found = sorted(self.downloads.glob("*.deb"))
        if len(found) < len(packages):
            raise SandboxError(f"apt-get download brought {len(found)} of {len(packages)} packages: try again")
        return found


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Unpack without configuring; documentation is left out."""
    root.mkdir(parents=True, exist_ok=True)
    exclude = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    for package in packages:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as reader:
            tar = ["tar", "-x", "-C", str(root), *exclude]
            writer = subprocess.run(
                tar, check=False, stdin=reader.stdout, capture_output=True, timeout=UNPACK_TIMEOUT_S
            )
        if reader.returncode != 0 or writer.returncode != 0:
            raise SandboxError(f"{package.name} cannot be unpacked: {writer.stderr.decode(errors='replace').strip()}")


def write_launcher(prefix: Path, program: str) -> Path:
    """``bin/<name>`` for ``tree/usr/<program>``: run by the prefix's own loader on its own libraries."""
    loaders = sorted(prefix.glob("tree/**/lib/*-linux-gnu*/ld-linux*.so.*"))
    if not loaders:
        raise SandboxError(
            f"the packages unpacked in {prefix} hold no dynamic loader: this architecture is not supported"
        )
    loader = loaders[0].relative_to(prefix)
    folders = {loader.parent, Path("tree/usr/lib", loader.parent.name)}
    libraries = ":".join(f"$P/{folder}" for folder in sorted(folders))
    launcher = prefix / "bin" / Path(program).name
    launcher.parent.mkdir(exist_ok=True)
    launcher.write_text(
        f'#!/bin/sh\nP=${{0%/*}}/..\nexec "$P/{loader}" --library-path "{libraries}" "$P/tree/usr/{program}" "$@"\n'
    )
    launcher.chmod(0o755)
    return launcher


def attempt(command: Sequence[str], timeout_s: float, folder: Path | None = None) -> str:
    """Run a command that uses the network, a few times. Raises the last SandboxError."""
    for _ in range(ATTEMPTS - 1):
        try:
            return run(command, timeout_s, folder)
        except SandboxError:
            continue
    return run(command, timeout_s, folder)


def run(command: Sequence[str], timeout_s: float, folder: Path | None = None) -> str:
    """Standard output of a command; at the deadline its whole process group is killed. Raises SandboxError."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    except OSError as error:
        raise SandboxError(f"{command[0]} cannot be run: {error}") from error
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise SandboxError(f"{what(command)} took more than {timeout_s:.0f} s: is the mirror reachable?") from None
    if process.returncode != 0:
        said = [line for line in errors.splitlines() if line.startswith("E:")] or errors.splitlines()
        raise SandboxError(f"{what(command)} failed: {' '.join(said[:3]) or f'status {process.returncode}'}")
    return output


def what(command: Sequence[str]) -> str:
    """A command without its ``-o`` options, for messages."""
    words = list(command)
    while "-o" in words:
        place = words.index("-o")
        del words[place : place + 2]
    return " ".join(words[:3] if len(words) > 4 else words)
