"""A transaction of the model: who wrote it, and the number it has there."""

from __future__ import annotations

from functools import lru_cache

from orchestrator_raft.core.gtid import GtidSet, MysqlGtidSet

Transaction = tuple[str, int]


@lru_cache(maxsize=100_000)
def one(transaction: Transaction) -> GtidSet:
    """The set of it alone."""
    uuid, number = transaction
    return MysqlGtidSet((((uuid, ""), ((number, number + 1),)),))
