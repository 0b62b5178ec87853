"""Every operation that people may ask for, as rows of data (design D7).

From these rows come the compatible API under ``/api/``, the native one under ``/api/v2/``, the sub-commands of raftctl
and the reference page; ``engine.service`` binds a handler to each name. To add an operation: one row here, one handler
there.

Rules for this file: data only, standard library only, so that raftctl starts fast. In a path, ``{host}/{port}`` stands
for the parameter ``server``, ``{targetHost}/{targetPort}`` for ``target``, and ``{hint}`` for ``cluster``; any other
name in braces is the parameter of that name. Query parameters carry the names of parameters that the path does not
have.
"""

from __future__ import annotations

from orchestrator_raft.operations.hooks import HOOK_ROWS
from orchestrator_raft.operations.left_out import LEFT_OUT
from orchestrator_raft.operations.model import Kind, Operation, Parameter, Where
from orchestrator_raft.operations.moves import MOVE_ROWS, QUESTION_ROWS, STAY_ROWS
from orchestrator_raft.operations.nodes import NODE_ROWS, OWN_ROWS
from orchestrator_raft.operations.policies import POLICY_ROWS
from orchestrator_raft.operations.publishing import PUBLISHING_ROWS
from orchestrator_raft.operations.reads import READ_ROWS
from orchestrator_raft.operations.recoveries import RECOVERY_ROWS
from orchestrator_raft.operations.returns import RETURN_ROWS
from orchestrator_raft.operations.servers import SERVER_ROWS

OPERATIONS: tuple[Operation, ...] = (
    *HOOK_ROWS,
    *MOVE_ROWS,
    *NODE_ROWS,
    *OWN_ROWS,
    *POLICY_ROWS,
    *PUBLISHING_ROWS,
    *QUESTION_ROWS,
    *READ_ROWS,
    *RECOVERY_ROWS,
    *RETURN_ROWS,
    *SERVER_ROWS,
    *STAY_ROWS,
)
OPERATION_BY_NAME = {operation.name: operation for operation in OPERATIONS}

__all__ = ["LEFT_OUT", "OPERATIONS", "OPERATION_BY_NAME", "Kind", "Operation", "Parameter", "Where"]
