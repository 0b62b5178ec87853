"""The sub-commands. One that is one operation is a row of ``ROWS``, and its parameters are the operation's own.

From a parameter to the command line: a required server or cluster is an argument; anything else is an option, which may
be left out only if the operation can do without it or the row knows a default. ``--json`` is on every command.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.operations import OPERATION_BY_NAME, Kind, Operation, Parameter
from orchestrator_raft.raftctl import views
from orchestrator_raft.raftctl.client import Answer, Client
from orchestrator_raft.raftctl.output import show
from orchestrator_raft.raftctl.publishing import hooks_shown, publications
from orchestrator_raft.raftctl.requests import request

DEFAULT_PORT = 3306
PAGE_SIZE, PAGES_MAX = 20, 10
_HOST = re.compile(r"\[[^\s/?#\]]+\]|[^\s/?#\[\]:]+")
_SHORT = {"server": "-i", "cluster": "-c", "target": "--to"}
_BY_DEFAULT = "By default the user's name."
DRY_RUN = "dry_run"
_FLAGS = {DRY_RUN: "--plan"}
_METAVARS = {Kind.SERVER: "HOST:PORT", Kind.CLUSTER: "CLUSTER", Kind.DURATION: "DURATION", Kind.NUMBER: "NUMBER"}


@dataclass
class Session:
    """What the global options say; ``make_client`` is set once they have been read."""

    make_client: Callable[[], Client] | None = None
    as_json: bool = False
    yes: bool = False

    def client(self) -> Client:
        if self.make_client is None:
            raise AssertionError("the global options have not been read")
        return self.make_client()


def session_of(ctx: click.Context) -> Session:
    session = ctx.find_object(Session)
    if session is None:
        raise AssertionError("no session: run() makes it")
    return session


def server_text(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """``host:port`` of a server; a host alone has port 3306, as with orchestrator's client."""
    if value is None:
        return None
    text = value if re.search(r":\d+$", value) and not value.endswith("]") else f"{value}:{DEFAULT_PORT}"
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or not 0 < int(port) < 65536:
        problem = f"'{value}' is no server: write HOST:PORT (an IPv6 address as [ADDRESS]:PORT)"
        raise click.BadParameter(problem, ctx, parameter)
    return text


def user_name() -> str:
    """Who runs this command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # this user id has no name
        return str(os.getuid())


def _set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        session_of(ctx).as_json = True


def _set_yes(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        session_of(ctx).yes = True


def json_option() -> click.Option:
    text = "Print the API's own JSON."
    return click.Option(["--json"], is_flag=True, expose_value=False, callback=_set_json, help=text)


def yes_option() -> click.Option:
    text = "Do not ask before it is done."
    return click.Option(["--yes", "-y"], is_flag=True, expose_value=False, callback=_set_yes, help=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A sub-command that is one operation."""

    name: str
    operation: str
    view: Callable[[Any], views.View] = views.done
    question: str = ""
    """What a person is asked before it is done; parameters in braces."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """What is added to the question where a flag is given."""
    help: str = ""
    """Instead of the operation's own line."""
    defaults: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    careful: str = ""
    """A flag of the operation that makes it refuse, sent unless --force is given."""


ROWS = (
    Row(name="clusters", operation="clusters-info", view=views.clusters_explained),
    Row(name="servers", operation="all-instances", view=views.servers),
    Row(name="instance", operation="instance", view=views.instance, help="Everything known of one server."),
    Row(name="problems", operation="replication-analysis", view=views.problems),
    Row(name="audit", operation="audit", view=views.audit),
    Row(name="discover", operation="discover"),
    Row(name="forget", operation="forget", question="{server} will not be watched any more."),
    Row(name="failover", operation="force-master-failover", careful="careful",
        question="The primary of {cluster} will be treated as dead and replaced.",
        warnings={"accept_loss": "Writes that clients were told are safe may be lost for good."}),
    Row(name="takeover", operation="graceful-master-takeover-auto",
        question="Another server will become the primary of {cluster}; writes are refused for a moment."),
    Row(name="set-read-only", operation="set-read-only"),
    Row(name="set-writeable", operation="set-writeable"),
    Row(name="start-replica", operation="start-replica"),
    Row(name="stop-replica", operation="stop-replica"),
    Row(name="save-lost-transactions", operation="save-lost-transactions"),
    Row(name="rebuild", operation="rebuild", question="All data of {server} will be deleted and replaced.",
        warnings={"accept_loss": "Transactions that only it has may be lost for good."}),
    Row(name="pause", operation="pause-writes"),
    Row(name="resume", operation="resume-writes"),
    Row(name="publications", operation="publications", view=publications),
    Row(name="publish", operation="submit-masters-to-kv-stores"),
)  # fmt: skip
DOWNTIME_ROWS = (
    Row(name="begin", operation="begin-downtime", defaults={"owner": user_name}),
    Row(name="end", operation="end-downtime"),
    Row(name="list", operation="downtimed", view=views.servers),
)
HOOK_ROWS = (
    Row(name="test", operation="hooks-preview", view=hooks_shown),
    Row(name="run", operation="hooks-drill",
        question="The hooks of {list} will run for real, for a failover of {cluster} that has not happened."),
)  # fmt: skip
RECOVERY_ROWS = (
    Row(name="enable", operation="enable-global-recoveries"),
    Row(name="disable", operation="disable-global-recoveries"),
    Row(name="blocked", operation="blocked-recoveries", view=views.blocked),
)


def command_of(row: Row) -> click.Command:
    """The sub-command of a row."""
    operation = OPERATION_BY_NAME[row.operation]
    parameters = operation.parameters
    plans = any(each.name == DRY_RUN for each in parameters)

    def run(*, force: bool = False, **given: str | bool | None) -> None:
        arguments = {name: _said(value) for name, value in given.items() if value not in (None, False)}
        if row.careful and not force:
            arguments[row.careful] = _said(True)
        warnings = (text for name, text in row.warnings.items() if name in arguments)
        if plans and is_asked() and DRY_RUN not in arguments:
            present(call(operation, {**arguments, DRY_RUN: _said(True)}), row.view)
        asks = row.question if DRY_RUN not in arguments else ""
        require_yes(" ".join((asks.format_map(arguments), *warnings)))
        present(call(operation, arguments), row.view)

    options = [_parameter(each, row.defaults.get(each.name)) for each in parameters if each.name != row.careful]
    extra = [yes_option()] if row.question else []
    if row.careful:
        text = f"Do not {OPERATION_BY_NAME[row.operation].parameter(row.careful).help}."
        extra.append(click.Option(["--force"], is_flag=True, help=text))
    text = row.help or f"{operation.help}."
    return click.Command(row.name, callback=run, params=[*options, *extra, json_option()], help=text)


def _parameter(parameter: Parameter, default: Callable[[], str] | None) -> click.Parameter:
    check = server_text if parameter.kind is Kind.SERVER else None
    metavar = _METAVARS.get(parameter.kind, "TEXT")
    if parameter.required and parameter.kind in (Kind.SERVER, Kind.CLUSTER):
        return click.Argument([parameter.name], metavar=metavar, callback=check)
    text = _help(parameter)
    names = [_FLAGS.get(parameter.name, f"--{parameter.name.replace('_', '-')}"), parameter.name]
    if parameter.kind is Kind.FLAG:
        return click.Option(names, is_flag=True, help=text)
    if parameter.name in _SHORT:
        names.append(_SHORT[parameter.name])
    if default is not None:
        return click.Option(names, metavar=metavar, default=default, callback=check, help=f"{text} {_BY_DEFAULT}")
    return click.Option(names, metavar=metavar, required=parameter.required, callback=check, help=text)


def _help(parameter: Parameter) -> str:
    first, _, rest = parameter.help.partition(" ")
    return f"{first if ':' in first else first.capitalize()} {rest}".strip() + "."


def _said(value: str | bool | None) -> str:
    return "true" if value is True else str(value)


def require_yes(question: str) -> None:
    """Ask a person at a terminal; a program has made up its mind already."""
    if question and is_asked():
        click.confirm(f"{question} Go on?", abort=True, err=True)


def is_asked() -> bool:
    """Somebody sits there who can be asked."""
    return not session_of(click.get_current_context()).yes and sys.stdin.isatty()


def call(operation: Operation, arguments: Mapping[str, str]) -> Answer:
    """Carry out one operation. Raises the errors of ``core.errors``."""
    return session_of(click.get_current_context()).client().call(request(operation, arguments))


def present(answer: Answer, view: Callable[[Any], views.View]) -> None:
    """Show an answer: the API's own JSON, or a view of it."""
    if session_of(click.get_current_context()).as_json:
        click.echo(answer.body.decode("utf-8", "replace").rstrip("\n"))
    else:
        show(view(answer.value))


@click.command(params=[json_option()])
@click.pass_obj
def status(session: Session) -> None:
    """Every node, every cluster, and what is wrong, on one screen.

    Asks all nodes that it can find. Exit codes of this command: 0 healthy, 1 problems, 2 no node answers.
    """
    from orchestrator_raft.raftctl import status as node_status
    from orchestrator_raft.raftctl.gather import gather

    found = gather(session.client())
    problems = node_status.judge(found)
    if session.as_json:
        click.echo(json.dumps(node_status.as_json(found, problems)))
    elif not found.answering:
        click.echo(f"error: {'; '.join(problems)}: name nodes that run with --api or RAFTCTL_API", err=True)
    else:
        show(node_status.view(found, problems))
    click.get_current_context().exit(node_status.exit_code(found, problems))


@click.command(params=[json_option()])
@click.option("-i", "--server", callback=server_text, metavar="HOST:PORT", help="The cluster of this server.")
@click.option("-c", "--cluster", metavar="CLUSTER", help="Name or alias of a cluster.")
@click.pass_obj
def topology(session: Session, server: str | None, cluster: str | None) -> None:
    """Clusters as trees: one, or all of them."""
    if server and cluster:
        raise click.UsageError("name a server or a cluster, not both")
    named = server or cluster
    names = [named] if named else [str(each) for each in call(OPERATION_BY_NAME["clusters"], {}).value or ()]
    if not names:
        show((views.Table((), (), "no clusters are known: raftctl discover HOST:PORT"),))
    for name in names:
        present(call(OPERATION_BY_NAME["topology"], {"cluster": name}), views.topology)


@click.command(params=[json_option()])
@click.argument("id", required=False)
@click.option("-c", "--cluster", metavar="CLUSTER", help="All recoveries of this cluster.")
@click.option("--all", "everything", is_flag=True, help="All recoveries there are.")
@click.option("--comment", help="Why, for the record. By default that the user did it.")
def ack(id: str | None, cluster: str | None, everything: bool, comment: str | None) -> None:
    """Acknowledge recoveries, so that they block no others. ID is a recovery's number or UID."""
    given = {
        "ack-recovery": {"id": id} if id else None,
        "ack-recovery-cluster": {"cluster": cluster} if cluster else None,
        "ack-all-recoveries": {} if everything else None,
    }
    chosen = [(name, arguments) for name, arguments in given.items() if arguments is not None]
    if len(chosen) != 1:
        raise click.UsageError("name one of: ID, --cluster CLUSTER, --all")
    ((name, arguments),) = chosen
    said = comment or f"acknowledged by {user_name()} with raftctl"
    present(call(OPERATION_BY_NAME[name], {**arguments, "comment": said}), views.done)


class DefaultGroup(click.Group):
    """A group whose command ``list`` need not be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup)
def recoveries() -> None:
    """Recoveries, newest first; `raftctl recoveries CLUSTER` is short for `raftctl recoveries list CLUSTER`."""


@recoveries.command("list", params=[json_option()])
@click.argument("cluster", required=False)
@click.option("--unacknowledged", is_flag=True, help="Only those nobody has acknowledged.")
@click.pass_obj
def list_recoveries(session: Session, cluster: str | None, unacknowledged: bool) -> None:
    """A table of recoveries, and all about the newest: timeline, who was not chosen and why, errors."""
    found = _recoveries({"every": "true", **({"unacknowledged": "true"} if unacknowledged else {})}, cluster)
    if session.as_json:
        click.echo(json.dumps(found))
        return
    show((*views.recoveries(found), *(views.recovery_details(found[0]) if found else ())))


def _recoveries(arguments: Mapping[str, str], cluster: str | None) -> list[dict[str, Any]]:
    """The newest page of all, or everything there is of one cluster."""
    operation = OPERATION_BY_NAME["audit-recovery"]
    if cluster is None:
        return _objects(call(operation, arguments).value)
    id_ = call(OPERATION_BY_NAME["cluster-info"], {"cluster": cluster}).value["id"]
    found: list[dict[str, Any]] = []
    for page in range(PAGES_MAX):
        items = _objects(call(operation, {**arguments, "page": str(page)}).value)
        found += [each for each in items if each.get("cluster_id") == id_]
        if len(items) < PAGE_SIZE:
            break
    return found


@recoveries.command("show", params=[json_option()])
@click.argument("id")
def show_recovery(id: str) -> None:
    """All about one recovery. ID is its number or UID."""
    answer = call(OPERATION_BY_NAME["audit-recovery"], {"id": id, "every": "true"})
    found = _objects(answer.value)
    if not found:
        raise InvalidInput(f"there is no recovery {id}: raftctl recoveries lists them")
    present(answer, lambda value: views.recovery_details(found[0]))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


@click.group(invoke_without_command=True)
@click.pass_context
def downtime(ctx: click.Context) -> None:
    """Take servers out of automatic recovery for a while."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.group()
def hooks() -> None:
    """Try the hooks of the configuration before they are needed."""


def add_commands(group: click.Group) -> None:
    """Every sub-command, in the order of the reference page."""
    group.add_command(status)
    group.add_command(topology)
    for row in ROWS:
        group.add_command(command_of(row))
    for row in RECOVERY_ROWS:
        recoveries.add_command(command_of(row))
    for row in DOWNTIME_ROWS:
        downtime.add_command(command_of(row))
    for row in HOOK_ROWS:
        hooks.add_command(command_of(row))
    for command in (recoveries, ack, downtime, hooks):
        group.add_command(command)
