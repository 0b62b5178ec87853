"""HTTP load by wrk, and what it says of it. wrk is found on PATH, or installed into the cache as the servers are."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from sandbox import apt
from sandbox.errors import SandboxError
from sandbox.install import cache_folder, file_lock, why_not_here, work_folder

SLACK_S = 30.0
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk found."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    """Answers that were no success, and connections that broke or gave no answer in time."""


def program() -> Path:
    """wrk. Raises SandboxError: one line that says what to do."""
    found = shutil.which("wrk")
    if found is not None:
        return Path(found)
    folder = cache_folder() / "servers"
    return _cached(folder) or _installed(folder)


def run(url: str, *, seconds: int, connections: int) -> Load:
    """As many requests as get through over so many connections. Raises SandboxError."""
    command = [str(program()), "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", url]
    return read(apt.run(command, seconds + SLACK_S))


def read(said: str) -> Load:
    """The figures in what wrk printed. Raises SandboxError if they are not there."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise SandboxError(f"wrk did not say how many requests it made:\n{said}")
    failures = re.findall(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", said)
    failed = sum(int(number) for group in failures for text in group for number in re.findall(r"\d+", text))
    return Load(float(rate[1]), _percentile_ms(said, 50), _percentile_ms(said, 99), failed)


def _percentile_ms(said: str, percent: int) -> float:
    match = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", said)
    if match is None:
        raise SandboxError(f"wrk did not say its {percent} % percentile:\n{said}")
    return float(match[1]) * UNITS_MS[match[2]]


def _cached(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("wrk-*/bin/wrk"), reverse=True)), None)


def _installed(folder: Path) -> Path:
    release_file = Path("/etc/os-release")
    release = apt.os_release(release_file.read_text()) if release_file.exists() else {}
    obstacle = why_not_here(release, is_root=os.geteuid() == 0, has_apt=shutil.which("apt-get") is not None)
    if obstacle:
        raise SandboxError(f"no wrk found and {obstacle}: install it so that wrk is on PATH")
    with file_lock(folder / "wrk.lock"), work_folder(folder, "wrk") as work:
        source = apt.PrivateApt(work / "apt", apt.host_archives(release)[0])
        source.update()
        version = source.candidate_version("wrk") or "unknown"
        apt.unpack(source.download(source.closure("wrk")), work / "tree")
        shutil.rmtree(work / "apt")
        launcher = apt.write_launcher(work, "bin/wrk")
        final = folder / f"wrk-{version}"
        work.rename(final)
        return final / "bin" / launcher.name
