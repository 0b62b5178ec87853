"""The entry point ``raftctl``: global options, one line for an error, exit codes that scripts can use."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError, Unavailable
from orchestrator_raft.raftctl.client import DEFAULT_API, Client, Tls, parse_endpoints, with_credentials
from orchestrator_raft.raftctl.commands import Session, add_commands, json_option, session_of, yes_option
from orchestrator_raft.raftctl.member import member
from orchestrator_raft.raftctl.planned import add_planned
from orchestrator_raft.raftctl.policies import add_policies
from orchestrator_raft.raftctl.raft import raft
from orchestrator_raft.raftctl.token import access_token

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 3, 130
EPILOG = """Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no node answers or there is no leader.
(`raftctl status` has its own.) Errors are one line on standard error."""
PASSWORD_FILE_BYTES_MAX = 4096


class OrderedGroup(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=OrderedGroup,
    epilog=EPILOG,
    invoke_without_command=True,
    params=[json_option(), yes_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--api", metavar="URL[,URL...]", help=f"Nodes to talk to [RAFTCTL_API, ORCHESTRATOR_API; {DEFAULT_API}].")
@click.option("--user", metavar="NAME", help="User for basic authentication [ORCHESTRATOR_AUTH_USER].")
@click.option("--password", metavar="TEXT", help="Its password; others on this machine can read it there.")
@click.option("--password-file", type=click.Path(path_type=Path), help="File with it [ORCHESTRATOR_AUTH_PASSWORD].")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with an access token [RAFTCTL_TOKEN].")
@click.option("--ca", metavar="FILE", help="Authority of the nodes' HTTPS certificates, PEM [RAFTCTL_CA].")
@click.option("--cert", metavar="FILE", help="Certificate to show to them, PEM [RAFTCTL_CERT].")
@click.option("--key", metavar="FILE", help="Its private key, PEM [RAFTCTL_KEY].")
@click.option("--timeout", type=click.FloatRange(min=0.05), metavar="SECONDS", help="Limit of each request.")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Look at and control an orchestrator-raft cluster, through any of its nodes."""
    session_of(ctx).make_client = lambda: client_of(options, os.environ)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


add_commands(cli)
add_policies(cli)
add_planned(cli)
cli.add_command(raft)
cli.add_command(member)
cli.add_command(access_token)


def client_of(options: Mapping[str, Any], environ: Mapping[str, str]) -> Client:
    """The client that options and environment describe. Raises InvalidInput."""
    text = options["api"] or environ.get("RAFTCTL_API") or environ.get("ORCHESTRATOR_API") or DEFAULT_API
    user = options["user"] or environ.get("ORCHESTRATOR_AUTH_USER", "")
    endpoints = with_credentials(parse_endpoints(text), user, _password(options, environ))
    tls = Tls(**{
        field: options[option] or environ.get(f"RAFTCTL_{option.upper()}", "")
        for field, option in (("authority", "ca"), ("certificate", "cert"), ("key", "key"))
    })  # fmt: skip
    path: Path | None = options["token_file"]
    token = _content(path) if path is not None else environ.get("RAFTCTL_TOKEN", "")
    return Client(
        endpoints, request_id=f"raftctl-{os.urandom(8).hex()}", timeout_s=options["timeout"], tls=tls, token=token
    )


def _password(options: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    path: Path | None = options["password_file"]
    if path is not None and options["password"] is not None:
        raise click.UsageError("give --password or --password-file, not both")
    if path is None:
        return options["password"] or environ.get("ORCHESTRATOR_AUTH_PASSWORD", "")
    return _content(path)


def _content(path: Path) -> str:
    """The secret in a file. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            return file.read(PASSWORD_FILE_BYTES_MAX).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    try:
        code = cli.main(list(arguments), prog_name="raftctl", standalone_mode=False, obj=Session())
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "raftctl"
        return _failed(f"{error.format_message()} ({path} --help)", EXIT_USAGE)
    except click.Abort as stopped:
        if isinstance(stopped.__cause__, KeyboardInterrupt):
            return _failed("interrupted: what a node has been asked for goes on there", EXIT_INTERRUPTED)
        return _failed("stopped: nothing was done", EXIT_FAILED)
    except Unavailable as error:
        return _failed(str(error), EXIT_UNREACHABLE)
    except OrchestratorError as error:
        return _failed(str(error), EXIT_FAILED)
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int) -> int:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
