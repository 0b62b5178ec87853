"""Find the server binary of a flavour, and install one only if there is none.

Order, first hit wins
1. the one that was named: an argument, else ``ORCHESTRATOR_SANDBOX_MYSQLD`` or ``ORCHESTRATOR_SANDBOX_MARIADBD``;
   if that one does not do, it is an error, not a reason to look elsewhere;
2. PATH, and the folders where distributions hide servers from PATH; the binary says itself what it is;
3. the cache: what this module installed before;
4. an installation into the cache, as root on Debian (MySQL from sid, MariaDB from the host's own release) or on Ubuntu
   (both from its own release). The host's packages are never touched.
Otherwise one line says what to install.

The cache is ``.cache`` in the checkout, or ``ORCHESTRATOR_CACHE``. A prefix is built under a temporary name and renamed
once its server has told its version, so a half-done one is never used; a file lock lets one caller at a time install.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox import apt
from sandbox.binaries import LEAST_VERSION, Flavor, ServerBinary, inspect, parse_version, version_text
from sandbox.errors import SandboxError

OPTION = {Flavor.MYSQL: "ORCHESTRATOR_SANDBOX_MYSQLD", Flavor.MARIADB: "ORCHESTRATOR_SANDBOX_MARIADBD"}
PROGRAMS = {Flavor.MYSQL: ("mysqld",), Flavor.MARIADB: ("mariadbd", "mysqld")}
PROGRAM_IN_PREFIX = {Flavor.MYSQL: "sbin/mysqld", Flavor.MARIADB: "sbin/mariadbd"}
PACKAGES = {Flavor.MYSQL: ("mysql-server-core-8.4", "mysql-server-core"), Flavor.MARIADB: ("mariadb-server-core",)}
MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin")
LOCK_TIMEOUT_S = 1800.0
"""Longer than an installation with all its repetitions can take."""

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing about progress."""


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where servers and templates are kept."""
    named = environ.get("ORCHESTRATOR_CACHE")
    return Path(named).absolute() if named else Path(__file__).resolve().parent.parent / ".cache"


def find_or_install(
    flavor: Flavor, *, binary: Path | None = None, environ: Mapping[str, str] = os.environ, say: Say = silent
) -> ServerBinary:
    """The server to use, installed if need be. Raises SandboxError: one line that says what to do."""
    refused: list[str] = []
    found = find(flavor, binary=binary, environ=environ, refused=refused)
    return found or install(flavor, cache_folder(environ), refused, say=say)


def find(
    flavor: Flavor,
    *,
    binary: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    refused: list[str] | None = None,
) -> ServerBinary | None:
    """The server that is there; None if there is none. ``refused`` collects why others were passed over."""
    named = str(binary) if binary is not None else environ.get(OPTION[flavor])
    if named:
        return accept(flavor, Path(named))
    passed_over = refused if refused is not None else []
    return on_path(flavor, environ.get("PATH", ""), passed_over) or cached(flavor, cache_folder(environ))


def accept(flavor: Flavor, path: Path) -> ServerBinary:
    """The binary that somebody named; it has to exist, be of that flavour and new enough."""
    if not os.access(path, os.X_OK) or path.is_dir():
        raise SandboxError(f"{path} is no program: let {OPTION[flavor]} name the {flavor.title} server binary")
    binary = inspect(path.absolute())
    if binary.flavor is not flavor:
        raise SandboxError(
            f"{path} is {binary.flavor.title}, not {flavor.title}: let {OPTION[flavor]} name another one"
        )
    if not binary.is_supported:
        raise SandboxError(binary.refusal)
    return binary


def on_path(flavor: Flavor, path: str, refused: list[str]) -> ServerBinary | None:
    """The first supported server of that flavour on PATH; those that are too old are noted in ``refused``."""
    for program in PROGRAMS[flavor]:
        folders = [folder for folder in path.split(os.pathsep) if folder]
        for folder in [*folders, *MORE_FOLDERS]:
            candidate = Path(folder, program).absolute()
            if not os.access(candidate, os.X_OK) or candidate.is_dir():
                continue
            try:
                binary = inspect(candidate)
            except SandboxError as error:
                refused.append(str(error))
                continue
            if binary.flavor is not flavor:
                continue
            if binary.is_supported:
                return binary
            if binary.refusal not in refused:
                refused.append(binary.refusal)
    return None


def cached(flavor: Flavor, cache: Path) -> ServerBinary | None:
    """The newest server that was installed before."""
    launchers = (cache / "servers").glob(f"{flavor.value}-*/bin/{Path(PROGRAM_IN_PREFIX[flavor]).name}")
    binaries = [inspect(launcher) for launcher in launchers]
    supported = [binary for binary in binaries if binary.is_supported]
    return max(supported, key=lambda binary: binary.version, default=None)


def install(flavor: Flavor, cache: Path, refused: list[str], *, say: Say = silent) -> ServerBinary:
    """Install into the cache, or take what another caller has just installed there."""
    release_file = Path("/etc/os-release")
    release = apt.os_release(release_file.read_text()) if release_file.exists() else {}
    obstacle = why_not_here(release, is_root=os.geteuid() == 0, has_apt=shutil.which("apt-get") is not None)
    if obstacle:
        raise SandboxError(what_to_install(flavor, obstacle, refused))
    with file_lock(cache / "servers" / f"{flavor.value}.lock"):
        found = cached(flavor, cache)
        if found is not None:
            return found
        say(f"installing {flavor.title} into {cache / 'servers'} (once; needs a package mirror)")
        with work_folder(cache / "servers", flavor.value) as work:
            try:
                return build(flavor, release, work)
            except SandboxError as error:
                reason = f"it cannot be installed here ({error})"
                raise SandboxError(what_to_install(flavor, reason, refused)) from error


def client_program(binary: ServerBinary, name: str) -> Path:
    """A program that came with this server, such as mysqlbinlog. Raises SandboxError where there is none."""
    if binary.prefix is None:
        found = shutil.which(name)
        if found is None:
            raise SandboxError(f"{name} is not installed: it belongs to the client package of {binary.flavor.title}")
        return Path(found)
    launcher = binary.path.parent / name
    if not launcher.exists():
        with file_lock(binary.path.parent / f"{name}.lock"):
            apt.write_launcher(binary.path.parent.parent, f"bin/{name}")
    return launcher


def why_not_here(release: Mapping[str, str], *, is_root: bool, has_apt: bool) -> str:
    """What keeps this module from installing a server on this host; empty if nothing does."""
    if release.get("ID") not in ("debian", "ubuntu") or not has_apt:
        return "this is neither Debian nor Ubuntu"
    return "" if is_root else "only root can have it installed here"


def what_to_install(flavor: Flavor, reason: str, refused: list[str]) -> str:
    """The one line for somebody who has to install a server himself."""
    least = LEAST_VERSION[flavor]
    found = f"; found, but not usable: {'; '.join(refused)}" if refused else ""
    return (
        f"no {flavor.title} server found and {reason}: install {flavor.title} {least[0]}.{least[1]} or newer so that "
        f"{PROGRAMS[flavor][0]} is on PATH, or let {OPTION[flavor]} name its binary{found}"
    )


def build(flavor: Flavor, release: dict[str, str], work: Path) -> ServerBinary:
    """Download, unpack, try, rename. Raises SandboxError with the bare reason."""
    own, sid = apt.host_archives(release)
    from_sid = flavor is Flavor.MYSQL and release["ID"] == "debian"
    source = apt.PrivateApt(work / "apt", sid if from_sid else own)
    source.update()
    package = choose_package(flavor, source)
    if package is None:
        raise SandboxError(f"{release.get('PRETTY_NAME', 'this release')} has no package that is new enough")
    apt.unpack(source.download(source.closure(package)), work / "tree")
    shutil.rmtree(work / "apt")
    binary = inspect(apt.write_launcher(work, PROGRAM_IN_PREFIX[flavor]))
    if binary.flavor is not flavor or not binary.is_supported:
        raise SandboxError(f"package {package} brought {binary}")
    final = work.parent / f"{flavor.value}-{version_text(binary.version)}"
    work.rename(final)
    return inspect(final / "bin" / binary.path.name)


def choose_package(flavor: Flavor, source: apt.PrivateApt) -> str | None:
    """The first package of the archive whose version is new enough."""
    for package in PACKAGES[flavor]:
        candidate = source.candidate_version(package) or ""
        parsed = parse_version(f"Ver {candidate.partition(':')[2] or candidate}")
        if parsed is not None and parsed[1] >= LEAST_VERSION[flavor]:
            return package
    return None


@contextmanager
def work_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new empty folder for something unfinished, deleted afterwards, as are those of callers that were killed.

    Never the same one twice: a child process of a killed caller may still write into its own.
    """
    for old in parent.glob(f".{name}.new-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.new-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def file_lock(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold an exclusive lock among processes. Raises SandboxError at the deadline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + timeout_s
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise SandboxError(f"another process has held {path} for {timeout_s:.0f} s: is it stuck?") from None
                time.sleep(0.05)
        yield
