"""The entry point ``orchestrator-raft``: run a node, and questions about its configuration.

Rules: what is wrong is told on standard error, one line for each thing, and the process ends at once with code 1; a
node that cannot start is for its supervisor to start again, it never tries by itself. A traceback is for developers:
it is shown with ``--debug`` only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from orchestrator_raft import __version__
from orchestrator_raft.core.errors import OrchestratorError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_FILE = click.Path(path_type=Path)


def _help_if_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A high-availability manager for MySQL and MariaDB replication. `raftctl` talks to nodes that run."""
    _help_if_alone(ctx)


@cli.command()
@click.option("--config", "files", type=_FILE, multiple=True, metavar="FILE", help="Configuration, orchestrator.conf."
              "json; may be given several times, later files override earlier ones.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Log at level debug, and show where an unexpected error came from.")
def serve(files: tuple[Path, ...], debug: bool) -> int:
    """Run one node until SIGTERM or SIGINT.

    Without --config those of orchestrator's own places that exist are read, in this order:
    /etc/orchestrator.conf.json, conf/orchestrator.conf.json, orchestrator.conf.json.
    """
    from orchestrator_raft.config import load
    from orchestrator_raft.telemetry.logs import setup_logging

    loaded = load(files, os.environ)
    for line in (*(f"warning: {line}" for line in loaded.warnings), *(f"note: {line}" for line in loaded.notes)):
        _say(line)
    setup_logging(loaded.settings.debug or debug)
    code: int = importlib.import_module("orchestrator_raft.app").run(loaded)
    return code


@cli.command()
@click.option("--config", "files", type=_FILE, multiple=True, metavar="FILE", help="As for serve.")
@click.option("--i-have-lost-quorum", "confirmed", is_flag=True, help="A majority of the nodes is lost for good.")
def recover(files: tuple[Path, ...], confirmed: bool) -> None:
    """Make this stopped node the only member of a new cluster, after a majority was lost for good.

    Without the second option it only tells what that costs.
    """
    from orchestrator_raft.config import load

    loaded = load(files, os.environ)
    click.echo(importlib.import_module("orchestrator_raft.app.recover").run(loaded, confirmed=confirmed))


@cli.group(invoke_without_command=True)
@click.pass_context
def config(ctx: click.Context) -> None:
    """Questions about the configuration."""
    _help_if_alone(ctx)


@config.command("check")
@click.argument("file", type=_FILE, required=False)
@click.option("--strict", is_flag=True, help="Warnings are errors: for CI.")
def check_command(file: Path | None, strict: bool) -> int:
    """Tell everything about FILE; without one, about the files that `serve` would read. Exit code 1 on errors."""
    from orchestrator_raft.config import check

    report = check(file, strict)
    click.echo(report.text)
    return 0 if report.ok else EXIT_FAILED


@config.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the file, for editors."""
    from orchestrator_raft.config import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@config.command("explain")
@click.argument("key")
def explain_command(key: str) -> None:
    """What KEY means, in any letter case."""
    from orchestrator_raft.config import explain

    click.echo(explain(key))


@cli.group(invoke_without_command=True)
@click.pass_context
def pki(ctx: click.Context) -> None:
    """Make certificates for the connections between nodes: `init` once, `issue` for each node."""
    _help_if_alone(ctx)


@pki.command("init")
@click.argument("directory", type=_FILE)
@click.option("--days", default=3650, show_default=True, help="Days for which the authority is valid.")
def pki_init_command(directory: Path, days: int) -> None:
    """Make an authority in DIRECTORY. Keep that directory safe and off the nodes: its key lets a machine in."""
    from orchestrator_raft.raft.pki import make_authority

    made = make_authority(directory, days)
    click.echo(f"{made.certificate}: the authority, valid until {made.expires:%Y-%m-%d}")
    click.echo(f"{made.key}: its key; whoever has it can add machines: keep it off the nodes")
    click.echo(f"next, for each node: orchestrator-raft pki issue {directory} --host NAME --out DIRECTORY")


@pki.command("issue")
@click.argument("directory", type=_FILE)
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A name under which RaftNodes lists the node.")
@click.option("--ip", "ips", multiple=True, metavar="ADDRESS", help="An address under which RaftNodes lists the node.")
@click.option("--out", type=_FILE, required=True, metavar="DIRECTORY", help="Where the node's three files are put.")
@click.option("--days", default=730, show_default=True, help="Days for which the certificate is valid.")
def pki_issue_command(directory: Path, hosts: tuple[str, ...], ips: tuple[str, ...], out: Path, days: int) -> None:
    """Issue a certificate for one node with the authority in DIRECTORY; --host and --ip may be repeated."""
    from orchestrator_raft.raft.pki import issue

    made = issue(directory, (*hosts, *ips), out, days)
    click.echo(f"{made.certificate}: for {', '.join((*hosts, *ips))}, valid until {made.expires:%Y-%m-%d}")
    click.echo("copy the three files to the node, readable for its user only, and add to its configuration:")
    for key, path in ("RaftSSLCertFile", made.certificate), ("RaftSSLPrivateKeyFile", made.key):
        click.echo(f'  "{key}": {json.dumps(str(path.absolute()))},')
    click.echo(f'  "RaftSSLCAFile": {json.dumps(str(made.authority.absolute()))}')


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"orchestrator-raft {__version__}, Python {sys.version.split()[0]}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    try:
        code = cli.main(list(arguments), prog_name="orchestrator-raft", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "orchestrator-raft"
        return _failed(f"{error.format_message()} ({path} --help)", EXIT_USAGE)
    except click.Abort:
        return _failed("interrupted", EXIT_INTERRUPTED)
    except OrchestratorError as error:
        return _failed(str(error), EXIT_FAILED)
    except Exception as error:  # noqa: BLE001 - the last line of a program: told, and the exit code says it
        return _unexpected(error, "--debug" in arguments)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, debug: bool) -> int:
    where = "its traceback is above" if debug else "run it again with --debug to see where"
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    text = " ".join(str(error).split())
    return _failed(f"a defect of orchestrator-raft: {type(error).__name__}: {text} ({where})", EXIT_FAILED)


def _failed(text: str, code: int) -> int:
    """One line for each thing that is wrong."""
    for line in text.splitlines() or [""]:
        _say(f"error: {line}")
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
