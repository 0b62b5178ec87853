"""HAProxy for the tests and for who wants to try ``deploy/haproxy.cfg``: found, or installed beside the servers.

Found on PATH or where distributions put it, else in the cache, else installed into the cache from the release's own
archive, as ``install`` does with servers. ``ORCHESTRATOR_SANDBOX_HAPROXY`` names another one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from sandbox import apt
from sandbox.errors import SandboxError
from sandbox.install import Say, cache_folder, file_lock, silent, why_not_here, work_folder

OPTION = "ORCHESTRATOR_SANDBOX_HAPROXY"
LEAST_VERSION = (2, 4)
"""From here on a check can name its server (``srv_name``)."""
PROGRAM = "sbin/haproxy"
ASK_TIMEOUT_S = 20.0
FOLDERS = ("/usr/local/sbin", "/usr/sbin")


def find_or_install(environ: Mapping[str, str] = os.environ, say: Say = silent) -> Path:
    """The program to use. Raises SandboxError: one line that says what to do."""
    named = environ.get(OPTION)
    if named:
        return _accepted(Path(named))
    path = os.pathsep.join((environ.get("PATH", ""), *FOLDERS))
    found = shutil.which("haproxy", path=path)
    if found is not None and version(Path(found)) >= LEAST_VERSION:
        return Path(found)
    folder = cache_folder(environ) / "servers"
    return _cached(folder) or _install(folder, say)


def version(program: Path) -> tuple[int, ...]:
    """As it says itself. Raises SandboxError."""
    match = re.search(r"version (\d+)\.(\d+)", apt.run([str(program), "-v"], ASK_TIMEOUT_S))
    if match is None:
        raise SandboxError(f"{program} is no HAProxy: let {OPTION} name one")
    return int(match[1]), int(match[2])


def _accepted(program: Path) -> Path:
    if version(program) < LEAST_VERSION:
        raise SandboxError(f"{program} is older than HAProxy {'.'.join(map(str, LEAST_VERSION))}: name another one")
    return program


def _cached(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("haproxy-*/bin/haproxy"), reverse=True)), None)


def _install(folder: Path, say: Say) -> Path:
    release_file = Path("/etc/os-release")
    release = apt.os_release(release_file.read_text()) if release_file.exists() else {}
    obstacle = why_not_here(release, is_root=os.geteuid() == 0, has_apt=shutil.which("apt-get") is not None)
    if obstacle:
        raise SandboxError(f"no HAProxy found and {obstacle}: install it so that haproxy is on PATH")
    with file_lock(folder / "haproxy.lock"):
        found = _cached(folder)
        if found is not None:
            return found
        say(f"installing HAProxy into {folder} (once; needs a package mirror)")
        with work_folder(folder, "haproxy") as work:
            return _build(apt.host_archives(release)[0], work)


def _build(archive: apt.Archive, work: Path) -> Path:
    source = apt.PrivateApt(work / "apt", archive)
    source.update()
    apt.unpack(source.download(source.closure("haproxy")), work / "tree")
    shutil.rmtree(work / "apt")
    program = apt.write_launcher(work, PROGRAM)
    final = work.parent / f"haproxy-{'.'.join(map(str, version(_accepted(program))))}"
    work.rename(final)
    return final / "bin" / program.name
