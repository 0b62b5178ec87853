"""One data directory per flavour and version, made once and copied for every server.

Making one costs seconds and copying one a tenth of it. A template's name holds the version and a digest of the recipe,
so a new version or a changed account makes a new template. It is built under a temporary name, below a file lock, with
the binary log off (it holds no GTIDs), and renamed when it is whole. The accounts and tables in it: ``accounts``.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from sandbox import dialects
from sandbox.accounts import template_statements
from sandbox.binaries import ASK_TIMEOUT_S, Flavor, ServerBinary, version_text
from sandbox.errors import SandboxError
from sandbox.install import Say, file_lock, silent, work_folder

BUILD_TIMEOUT_S = 300.0

_RECIPE: dict[Flavor, tuple[str, ...]] = {
    Flavor.MYSQL: (
        "--secure-file-priv=NULL", "--initialize-insecure", "--disable-log-bin", "--innodb-redo-log-capacity=32M",
        "--innodb-buffer-pool-size=64M", "--innodb-flush-method=nosync", "--innodb-doublewrite=OFF",
        "--innodb-autoextend-increment=1", "--performance-schema=OFF", "--log-error-verbosity=1",
    ),
    Flavor.MARIADB: (
        "--bootstrap", "--log-warnings=0", "--enforce-storage-engine=", "--max-allowed-packet=8M",
        "--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:4M:autoextend", "--innodb-autoextend-increment=1",
        "--innodb-flush-method=nosync", "--innodb-doublewrite=OFF",
    ),
}  # fmt: skip
_SYSTEM_SCRIPTS = (
    "system_tables.sql", "performance_tables.sql", "system_tables_data.sql", "add_gis_sp_bootstrap.sql",
    "sys_schema.sql",
)  # fmt: skip


def template(binary: ServerBinary, cache: Path, *, say: Say = silent) -> Path:
    """The template data directory of this server, made if need be. Raises SandboxError."""
    statements = template_statements(binary.flavor)
    digest = hashlib.sha256("\n".join([*_RECIPE[binary.flavor], *statements]).encode()).hexdigest()[:10]
    name = f"{binary.flavor.value}-{version_text(binary.version)}-{digest}"
    final = cache / "templates" / name
    if final.is_dir():
        return final
    with file_lock(cache / "templates" / f"{name}.lock"):
        if final.is_dir():
            return final
        say(f"making a data directory for {binary} (once)")
        with work_folder(final.parent, name) as work:
            (initialize_mysql if binary.flavor is Flavor.MYSQL else bootstrap_mariadb)(binary, work, statements)
            (work / "data").rename(final)
    return final


def initialize_mysql(binary: ServerBinary, work: Path, statements: list[str]) -> None:
    """``--initialize-insecure`` runs the statements of an init file."""
    script = work / "init.sql"
    script.write_text("".join(f"{statement};\n" for statement in statements))
    run(binary, work, [*_RECIPE[Flavor.MYSQL], f"--init-file={script}"], "")


def bootstrap_mariadb(binary: ServerBinary, work: Path, statements: list[str]) -> None:
    """``--bootstrap`` reads the server's own scripts, then ours, from standard input."""
    (work / "data" / "mysql").mkdir(parents=True)
    scripts = [script_text(share_folder(binary), name) for name in _SYSTEM_SCRIPTS]
    lines = ["CREATE DATABASE IF NOT EXISTS mysql;", "USE mysql;", "SET @auth_root_socket=NULL;", *scripts]
    lines += ["FLUSH PRIVILEGES;", *(f"{statement};" for statement in statements)]
    run(binary, work, list(_RECIPE[Flavor.MARIADB]), "\n".join(lines) + "\n")


def run(binary: ServerBinary, work: Path, recipe: list[str], script: str) -> None:
    """Run the server once on ``work/data``. Raises SandboxError with its last words."""
    options = {"datadir": work / "data", **dialects.place_options(binary.flavor, binary.prefix)}
    if os.geteuid() == 0:
        options["user"] = "root"
    command = [str(binary.path), "--no-defaults", *(f"--{name}={value}" for name, value in options.items()), *recipe]
    try:
        ran = subprocess.run(
            command, check=False, input=script, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, cwd=work
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{binary} made no data directory within {BUILD_TIMEOUT_S:.0f} s") from None
    said = "\n".join((ran.stdout + ran.stderr).splitlines()[-12:])
    if ran.returncode != 0 or "ERROR" in said:
        raise SandboxError(f"{binary} made no data directory (status {ran.returncode}); it said\n{said}")


def share_folder(binary: ServerBinary) -> Path:
    """Where MariaDB keeps its SQL scripts: beside its character sets."""
    places = dialects.place_options(binary.flavor, binary.prefix)
    if "lc-messages-dir" in places:
        return Path(str(places["lc-messages-dir"]))
    command = [str(binary.path), "--no-defaults", "--verbose", "--help"]
    told = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, stdin=subprocess.DEVNULL
    )
    match = re.search(r"^character-sets-dir\s+(\S+)", told.stdout, re.MULTILINE)
    if match is None:
        raise SandboxError(f"{binary} does not say where its character sets are: its SQL scripts cannot be found")
    return Path(match[1]).parent


def script_text(share: Path, name: str) -> str:
    """One of the server's scripts, without this host's name; releases call it mysql_, mariadb_ or maria_ something."""
    for prefix in ("mariadb", "mysql", "maria"):
        path = share / f"{prefix}_{name}"
        if path.exists():
            lines = path.read_text().splitlines()
            return "\n".join(line for line in lines if "@current_hostname" not in line)
    raise SandboxError(f"{share} holds no script *_{name}: the MariaDB installation is incomplete")
