"""``raftctl member``: who belongs to the Raft cluster, and changes of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl.commands import call, json_option, present, require_yes, yes_option
from orchestrator_raft.raftctl.views import Table, View, done


@click.group(invoke_without_command=True)
@click.pass_context
def member(ctx: click.Context) -> None:
    """Members of the Raft cluster: one change at a time, refused where the quorum would be lost."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@member.command("list", params=[json_option()])
def show_members() -> None:
    """All members, as the node that is asked has them."""
    present(call(OPERATION_BY_NAME["raft-members"], {}), view)


@member.command(params=[json_option()])
@click.argument("address")
def add(address: str) -> None:
    """Take the node at ADDRESS, host:port, into the cluster.

    Start it before with an empty RaftDataDir and with RaftNodes that name the present members and itself. It gets
    everything, and votes by itself when it has caught up. Afterwards write it into the RaftNodes of all nodes.
    """
    present(call(OPERATION_BY_NAME["raft-add-peer"], {"addr": address}), done)


@member.command(params=[yes_option(), json_option()])
@click.argument("node")
def remove(node: str) -> None:
    """Take NODE, a Raft address, out of the cluster; if it leads, it hands over first."""
    require_yes(f"{node} will not belong to the Raft cluster any more.")
    present(call(OPERATION_BY_NAME["raft-remove-peer"], {"addr": node}), done)


@member.command(params=[yes_option(), json_option()])
@click.argument("old")
@click.argument("address")
def replace(old: str, address: str) -> None:
    """Take the node at ADDRESS into the cluster and, as soon as it votes, OLD out of it.

    It goes on by itself, also when another node comes to lead: see `raftctl member list`.
    """
    require_yes(f"{old} will not belong to the Raft cluster any more as soon as {address} votes.")
    present(call(OPERATION_BY_NAME["raft-replace-peer"], {"addr": old, "by": address}), done)


def view(value: Any) -> View:
    members = value if isinstance(value, list) else []
    return (Table(("MEMBER", "ADDRESS", "ROLE", "CONNECTED", "NOTE"), tuple(_row(each) for each in members)),)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    role = "leader" if each.get("is_leader") else "voter" if each.get("votes") else "learner"
    connected = "yes" if each.get("is_connected") else "no"
    return str(each.get("id", "")), str(each.get("address", "")), role, connected, str(each.get("note", ""))
