"""Which server binary is this, and may it be used? Asks the binary itself, never its name.

A ``mysqld`` on PATH is often MariaDB, and a package's version is not the binary's; so flavour and version come from
``--version`` alone. The least versions are those that the product supports: below them replication speaks the old
statements only (MySQL) or lacks semi-sync and privileges in today's form (MariaDB).
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sandbox.errors import SandboxError

ASK_TIMEOUT_S = 20.0


class Flavor(Enum):
    """The two families of servers."""

    MYSQL = "mysql"
    MARIADB = "mariadb"

    @property
    def title(self) -> str:
        return {"mysql": "MySQL", "mariadb": "MariaDB"}[self.value]


Version = tuple[int, int, int]
LEAST_VERSION: dict[Flavor, Version] = {Flavor.MYSQL: (8, 4, 0), Flavor.MARIADB: (10, 11, 0)}

_VERSION = re.compile(r"\bVer (\d+)\.(\d+)\.(\d+)(\S*)")


def version_text(version: Version) -> str:
    return ".".join(str(part) for part in version)


def parse_version(text: str) -> tuple[Flavor, Version] | None:
    """What ``mysqld --version`` printed to flavour and version; None if it is no such line."""
    match = _VERSION.search(text)
    if match is None:
        return None
    flavor = Flavor.MARIADB if "mariadb" in match[4].lower() else Flavor.MYSQL
    return flavor, (int(match[1]), int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program that can be started, as it described itself."""

    flavor: Flavor
    version: Version
    path: Path

    def __str__(self) -> str:
        return f"{self.flavor.title} {version_text(self.version)} ({self.path})"

    @property
    def prefix(self) -> Path | None:
        """The ``usr`` folder of a private prefix (``bin/`` beside ``tree/usr/``); None for an installed server."""
        usr = self.path.parent.parent / "tree" / "usr"
        return usr if usr.is_dir() else None

    @property
    def is_supported(self) -> bool:
        return self.version >= LEAST_VERSION[self.flavor]

    @property
    def refusal(self) -> str:
        """Why an unsupported binary is refused, in one line."""
        least = LEAST_VERSION[self.flavor]
        return (
            f"{self.path} is {self.flavor.title} {version_text(self.version)}, too old: "
            f"{self.flavor.title} {least[0]}.{least[1]} or newer is needed"
        )


def inspect(path: Path) -> ServerBinary:
    """Ask a binary who it is. Raises SandboxError if it cannot be run or is no database server."""
    try:
        asked = subprocess.run(
            [str(path), "--no-defaults", "--version"],
            check=False, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{path} cannot be run as a database server: {error}") from error
    parsed = parse_version(asked.stdout)
    if parsed is None:
        said = (asked.stdout + asked.stderr).strip().splitlines()
        raise SandboxError(
            f"{path} is no MySQL or MariaDB server: --version ended with {asked.returncode} and said "
            f"'{said[0] if said else ''}'"
        )
    flavor, version = parsed
    return ServerBinary(flavor, version, path)
