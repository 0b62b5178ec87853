"""Rows about servers that are kept out of their cluster: what only they have."""

from __future__ import annotations

from orchestrator_raft.operations.model import SERVER, Operation, act

RETURN_ROWS: tuple[Operation, ...] = (
    act("save-lost-transactions", "Save the transactions that only this server has, from its binary logs, as SQL",
        parameters=(SERVER,), native="POST /servers/{server}/save-lost-transactions", takes_long=True),
)  # fmt: skip
