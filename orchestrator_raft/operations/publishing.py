"""Rows about what the outside is told: primaries in key-value stores and proxies."""

from __future__ import annotations

from orchestrator_raft.operations.model import MAYBE_CLUSTER, Kind, Operation, Parameter, act, listing

OVER_NEWER = Parameter(
    name="force", kind=Kind.FLAG, required=False, help="write over something newer that a target has"
)

PUBLISHING_ROWS: tuple[Operation, ...] = (
    listing("publications", "Primaries as they are published, and where each target stands", native="GET /publications",
        parameters=(MAYBE_CLUSTER,)),
    act("submit-masters-to-kv-stores", "Publish the primary of a cluster, or of all, once more",
        "submit-masters-to-kv-stores", "submit-masters-to-kv-stores/{hint}", parameters=(MAYBE_CLUSTER, OVER_NEWER),
        native="POST /publications"),
)  # fmt: skip
