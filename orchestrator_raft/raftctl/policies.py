"""What people set, from the command line: maintenance, promotion rules, tags, pools, aliases of clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl import views
from orchestrator_raft.raftctl.commands import (
    Row,
    call,
    command_of,
    json_option,
    present,
    server_text,
    user_name,
)


def _table(columns: tuple[str, ...], row: Callable[[dict[str, Any]], tuple[str, ...]], empty: str) -> Any:
    def view(value: Any) -> views.View:
        found = value if isinstance(value, list) else []
        return (views.Table(columns, tuple(row(each) for each in found if isinstance(each, dict)), empty),)

    return view


def _texts(column: str, empty: str) -> Callable[[Any], views.View]:
    def view(value: Any) -> views.View:
        found = value if isinstance(value, list) else []
        return (views.Table((column,), tuple((str(each),) for each in found), empty),)

    return view


MAINTENANCES = _table(
    ("SERVER", "OWNER", "REASON", "SINCE", "UNTIL"),
    lambda each: (
        str(each.get("key", "")), str(each.get("owner", "")), str(each.get("reason", "")),
        views.moment(each.get("begun_ms")), views.moment(each.get("ends_ms")),
    ),
    "no server is in maintenance",
)  # fmt: skip
RULES = _table(
    ("SERVER", "RULE", "BY", "UNTIL"),
    lambda each: (
        str(each.get("key", "")), str(each.get("rule", "")), str(each.get("by", "")), views.moment(each.get("ends_ms"))
    ),
    "nobody has given a server a promotion rule",
)  # fmt: skip
POOLS = _table(
    ("POOL", "SERVERS", "BY", "UNTIL"),
    lambda each: (
        str(each.get("name", "")), ", ".join(each.get("members", ())), str(each.get("by", "")),
        views.moment(each.get("ends_ms")),
    ),
    "no pools are known",
)  # fmt: skip


@click.group()
def maintenance() -> None:
    """Keep everybody else, and everything automatic, from changing a server for a while."""


@click.group("promotion-rule")
def promotion_rule() -> None:
    """Say who is to be promoted, and who is not; a rule holds for an hour unless a duration is given."""


@click.group()
def pool() -> None:
    """Servers that are used together, as their users submit them."""


@click.group()
def alias() -> None:
    """Names of clusters that go before those that their primaries suggest."""


@click.group()
def tag() -> None:
    """Names on servers, with a value or without, to find them by."""


ROWS: tuple[tuple[click.Group, tuple[Row, ...]], ...] = (
    (maintenance, (
        Row(name="begin", operation="begin-maintenance", defaults={"owner": user_name}),
        Row(name="end", operation="end-maintenance"),
        Row(name="list", operation="maintenance", view=MAINTENANCES),
    )),
    (promotion_rule, (
        Row(name="set", operation="register-candidate"),
        Row(name="clear", operation="deregister-candidate"),
        Row(name="list", operation="bulk-promotion-rules", view=RULES),
    )),
    (pool, (
        Row(name="submit", operation="submit-pool-instances"),
        Row(name="drop", operation="drop-pool"),
        Row(name="list", operation="pools", view=POOLS),
    )),
    (alias, (
        Row(name="set", operation="set-cluster-alias"),
        Row(name="clear", operation="drop-cluster-alias"),
    )),
    (tag, (
        Row(name="list", operation="tags", view=_texts("TAG", "no tags")),
        Row(name="find", operation="tagged", view=_texts("SERVER", "no server has these tags")),
    )),
)  # fmt: skip


@tag.command("set", params=[json_option()])
@click.argument("server", metavar="HOST:PORT", callback=server_text)
@click.argument("tag", metavar="NAME[=VALUE]")
def set_tag(server: str, tag: str) -> None:
    """Put a tag on a server; one of the same name is replaced."""
    name, _, value = tag.partition("=")
    present(call(OPERATION_BY_NAME["tag"], {"server": server, "name": name, "value": value}), views.done)


@tag.command("remove", params=[json_option()])
@click.argument("name")
@click.argument("server", metavar="[HOST:PORT]", required=False, callback=server_text)
@click.option("--all", "everywhere", is_flag=True, help="Off all servers.")
def remove_tag(name: str, server: str | None, everywhere: bool) -> None:
    """Take a tag off one server, or off all."""
    if (server is None) is not everywhere:
        raise click.UsageError("name one of: HOST:PORT, --all")
    operation = OPERATION_BY_NAME["untag-all" if server is None else "untag"]
    present(call(operation, {"name": name} | ({"server": server} if server else {})), views.done)


def add_policies(group: click.Group) -> None:
    """Every sub-command of this file."""
    for inner, rows in ROWS:
        for row in rows:
            inner.add_command(command_of(row))
        group.add_command(inner)
