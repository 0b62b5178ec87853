"""The sandbox's command line: ``scripts/sandbox start|install|versions``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import chromium, dialects, haproxy, install, topology
from sandbox.accounts import CLUSTER_ALIAS, CLUSTER_DOMAIN
from sandbox.binaries import Flavor
from sandbox.errors import SandboxError
from sandbox.topology import Topology

WATCH_PAUSE_S = 0.5


def say(text: str) -> None:
    print(text, flush=True)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="scripts/sandbox", description="Real MySQL and MariaDB servers on loopback.")
    commands = top.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start a primary with replicas, until Ctrl-C")
    start.add_argument("--flavor", choices=[flavor.value for flavor in Flavor], default=Flavor.MYSQL.value)
    start.add_argument("--count", type=int, default=4, help="servers in all (default 4)")
    start.add_argument("--port", type=int, default=22000, help="first port (default 22000)")
    start.add_argument("--directory", type=Path, help="where the servers live (default: in the cache)")
    start.add_argument("--binary", type=Path, help="server program to use")
    start.add_argument("--no-semi-sync", action="store_true", help="asynchronous replication")
    start.add_argument("--wait-for-replica-count", type=int, default=1, help="acknowledgements per commit (MySQL)")
    start.add_argument("--full-size", action="store_true", help="memory and durability as the server has them")
    start.add_argument(
        "--server-defaults", action="store_true", help="the server's own net timeout, heartbeat and retry"
    )
    for name, help_text in (("install", "find or install servers"), ("versions", "print what would be used")):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--flavor", choices=[*(flavor.value for flavor in Flavor), "both"], default="both")
    commands.add_parser("haproxy", help="find or install HAProxy, for deploy/haproxy.cfg and its test")
    commands.add_parser("chromium", help="find or install Chromium, for the tests of the web page")
    return top


PROGRAMS = {"haproxy": haproxy.find_or_install, "chromium": chromium.find_or_install}


def program(name: str) -> int:
    """Say which HAProxy or Chromium is used; install one that is missing."""
    try:
        say(str(PROGRAMS[name](say=say)))
    except SandboxError as error:
        say(f"error: {error}")
        return 1
    return 0


def start(options: argparse.Namespace) -> int:
    """Run a topology until Ctrl-C."""
    directory = options.directory or install.cache_folder() / "run" / f"{options.flavor}-{options.port}"
    begun_s = time.monotonic()
    running = topology.start(
        Flavor(options.flavor), options.count, options.port, directory, semi_sync=not options.no_semi_sync,
        wait_for_replica_count=options.wait_for_replica_count, lean=not options.full_size,
        server_defaults=options.server_defaults, binary=options.binary, say=say,
    )  # fmt: skip
    try:
        say(f"{running.binary}: {options.count} servers in {time.monotonic() - begun_s:.1f} s\n")
        say(introduction(running))
        watch(running)
    finally:
        running.stop_all(discard=True)
        say("all servers ended")
    return 0


def introduction(running: Topology) -> str:
    """Addresses, accounts and places, for people."""
    accounts = {
        "manager": dialects.MANAGER,
        "replication": dialects.REPLICATION,
        "application": dialects.APPLICATION,
        "everything": dialects.ROOT,
    }
    pids = "  ".join(f"{server.port}: {server.pid}" for server in running.servers)
    return "\n".join(
        [
            running.describe(),
            "",
            f"accounts   {', '.join(f'{name}/{name} ({what})' for what, name in accounts.items())}",
            f"cluster    {CLUSTER_ALIAS}, {CLUSTER_DOMAIN} (table meta.cluster)",
            f"processes  {pids}",
            f"files      {running.directory}/PORT/my.cnf, error.log, data/",
            f"restart    {running.binary.path} --defaults-file={running.directory}/PORT/my.cnf",
            "",
            "Ctrl-C ends them all.",
        ]
    )


def watch(running: Topology) -> None:
    """Wait for Ctrl-C, and say when a server has gone."""
    known = set(running.servers)
    while True:
        gone = {server for server in known if not server.is_running()}
        for server in gone:
            say(f"{server} is not running any more")
        known -= gone
        time.sleep(WATCH_PAUSE_S)


def servers(options: argparse.Namespace) -> int:
    """Say which server each flavour would use; ``install`` installs one that is missing."""
    flavors = [flavor for flavor in Flavor if options.flavor in (flavor.value, "both")]
    failed = False
    for flavor in flavors:
        try:
            found = install.find_or_install(flavor, say=say) if options.command == "install" else install.find(flavor)
        except SandboxError as error:
            say(f"error: {error}")
            failed = True
        else:
            say(
                f"{found}"
                if found is not None
                else f"{flavor.title}: none yet; scripts/sandbox install finds or installs one"
            )
    return 1 if failed else 0


def end_by_exception(*_: object) -> None:
    """SIGTERM ends us as Ctrl-C does, servers first."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit code."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, end_by_exception)
    try:
        if options.command in PROGRAMS:
            return program(options.command)
        return start(options) if options.command == "start" else servers(options)
    except KeyboardInterrupt:
        return 130
    except (SandboxError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
