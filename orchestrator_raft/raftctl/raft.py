"""``raftctl raft``: how the nodes of the Raft cluster are, leadership handed over, snapshots on request."""

from __future__ import annotations

import click

from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl import raft_view, views
from orchestrator_raft.raftctl.commands import call, json_option, present, require_yes, yes_option

EXIT_PROBLEMS = 1


@click.group(invoke_without_command=True)
@click.pass_context
def raft(ctx: click.Context) -> None:
    """The Raft cluster of the nodes themselves."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@raft.command("status", params=[json_option()])
def show_status() -> None:
    """Every node as it sees itself: role, log, lease, disk, and whether all have the same state.

    Any node can be asked; it asks the others. Exit codes: 0 healthy, 1 problems.
    """
    answer = call(OPERATION_BY_NAME["raft-overview"], {})
    present(answer, raft_view.view)
    click.get_current_context().exit(EXIT_PROBLEMS if raft_view.judge(answer.value) else 0)


@raft.command(params=[yes_option(), json_option()])
@click.argument("node", required=False, metavar="[NODE]")
def transfer(node: str | None) -> None:
    """Hand leadership to NODE, a Raft address, or to the node that has most; recoveries under way go on there."""
    require_yes("Another node will lead the Raft cluster; nothing is recovered for a moment.")
    present(call(OPERATION_BY_NAME["raft-transfer"], {"node": node} if node else {}), views.done)


@raft.command(params=[json_option()])
def snapshot() -> None:
    """Save a snapshot on the node that is asked, and trim its journal."""
    present(call(OPERATION_BY_NAME["raft-snapshot"], {}), views.done)
