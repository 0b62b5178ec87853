"""Database dialects, pure: what to ask a server, how to read its answers, how to say a step in SQL.

A new dialect is a module that offers ``base.Dialect``, a row in ``DIALECTS`` and a word in ``recognise``.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_raft.core.instance import Flavor
from orchestrator_raft.flavors.base import Dialect
from orchestrator_raft.flavors.mariadb import MariadbDialect
from orchestrator_raft.flavors.mysql import MysqlDialect

__all__ = ["DIALECTS", "recognise"]

DIALECTS: Mapping[Flavor, Dialect] = {Flavor.MYSQL: MysqlDialect(), Flavor.MARIADB: MariadbDialect()}


def recognise(greeting_version: str) -> Dialect:
    """The dialect of a server by the version in its greeting, such as ``5.5.5-10.11.19-MariaDB`` or ``9.7.4``."""
    return DIALECTS[Flavor.MARIADB if "mariadb" in greeting_version.lower() else Flavor.MYSQL]
