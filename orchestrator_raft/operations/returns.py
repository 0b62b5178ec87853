"""Rows about servers that are kept out of their cluster: what only they have."""

from __future__ import annotations

from orchestrator_raft.operations.model import SERVER, Kind, Operation, Parameter, act

DONOR = Parameter(name="donor", kind=Kind.SERVER, required=False, help="the server to copy; else the fittest replica")
ACCEPT_LOSS = Parameter(
    name="accept_loss", kind=Kind.FLAG, required=False, help="although transactions that only it has are not saved"
)

RETURN_ROWS: tuple[Operation, ...] = (
    act("save-lost-transactions", "Save the transactions that only this server has, from its binary logs, as SQL",
        parameters=(SERVER,), native="POST /servers/{server}/save-lost-transactions", takes_long=True),
    act("rebuild", "Replace all data of a server that is kept out by a copy of a replica's (MySQL's CLONE plugin)",
        parameters=(SERVER, DONOR, ACCEPT_LOSS), native="POST /servers/{server}/rebuild", takes_long=True),
)  # fmt: skip
