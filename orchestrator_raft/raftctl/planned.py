"""Commands of the operations that run as a plan: one for each that no row names yet.

At a terminal the plan is shown, and then it is asked whether to go on; with ``--plan`` that is all. A program is not
asked. A plan is asked for on native paths alone: on a compatible one a node that does not know the word would ignore
it, and act.
"""

from __future__ import annotations

import click

from orchestrator_raft.operations import OPERATIONS
from orchestrator_raft.raftctl.commands import DRY_RUN, ROWS, Row, command_of

QUESTION = "This will be done."


def add_planned(cli: click.Group) -> None:
    known = {row.operation for row in ROWS}
    for operation in OPERATIONS:
        is_planned = bool(operation.native) and any(each.name == DRY_RUN for each in operation.parameters)
        if is_planned and operation.name not in known and operation.name not in cli.commands:
            cli.add_command(command_of(Row(name=operation.name, operation=operation.name, question=QUESTION)))
