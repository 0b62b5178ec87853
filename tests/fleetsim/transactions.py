"""A transaction of the model: who wrote it, and the number it has there.

The writer is a server_uuid on MySQL; on MariaDB ``0-1``, a domain and a server id.
"""

from __future__ import annotations

from functools import lru_cache

from orchestrator_raft.core.gtid import GtidSet, MysqlGtidSet, parse_mariadb

Transaction = tuple[str, int]
DOMAIN = "0-"


@lru_cache(maxsize=100_000)
def one(transaction: Transaction) -> GtidSet:
    """The set of it alone; on MariaDB with all that its writer wrote before, as its order makes sure."""
    writer, number = transaction
    if writer.startswith(DOMAIN):
        return parse_mariadb(f"{writer}-{number}")
    return MysqlGtidSet((((writer, ""), ((), (number, number + 1))),))
