"""Chromium for the tests of the web page: found, or installed as a package of the host.

Found on PATH, else installed with apt-get as root on Debian. It is the host's own package, unlike the database servers:
a browser starts itself again under other names, which a private prefix with its own loader does not survive.
``ORCHESTRATOR_SANDBOX_CHROMIUM`` names another one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from sandbox import apt
from sandbox.errors import SandboxError
from sandbox.install import Say, cache_folder, file_lock, silent, why_not_here

OPTION = "ORCHESTRATOR_SANDBOX_CHROMIUM"
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
INSTALL_TIMEOUT_S = 600.0


def find_or_install(environ: Mapping[str, str] = os.environ, say: Say = silent) -> Path:
    """The program to use. Raises SandboxError: one line that says what to do."""
    named = environ.get(OPTION)
    if named:
        if not os.access(named, os.X_OK):
            raise SandboxError(f"{named} is no program: let {OPTION} name a Chromium")
        return Path(named)
    return _found(environ) or _install(environ, say)


def _found(environ: Mapping[str, str]) -> Path | None:
    found = (shutil.which(program, path=environ.get("PATH")) for program in PROGRAMS)
    return next((Path(each) for each in found if each is not None), None)


def _install(environ: Mapping[str, str], say: Say) -> Path:
    release_file = Path("/etc/os-release")
    release = apt.os_release(release_file.read_text()) if release_file.exists() else {}
    obstacle = why_not_here(release, is_root=os.geteuid() == 0, has_apt=shutil.which("apt-get") is not None)
    if obstacle or release.get("ID") != "debian":
        raise SandboxError(
            f"no Chromium found and {obstacle or 'only Debian has it as a package'}: install it so that chromium is on"
            f" PATH, or let {OPTION} name it"
        )
    with file_lock(cache_folder(environ) / "chromium.lock"):
        found = _found(environ)
        if found is not None:
            return found
        say(f"installing {' and '.join(PACKAGES)} with apt-get (once; needs a package mirror)")
        apt.attempt(["apt-get", "update", "-qq"], INSTALL_TIMEOUT_S)
        apt.attempt(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], INSTALL_TIMEOUT_S)
    found = _found(environ)
    if found is None:
        raise SandboxError(f"apt-get installed {PACKAGES[0]}, but it is not on PATH: let {OPTION} name it")
    return found
