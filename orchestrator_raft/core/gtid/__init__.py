"""GTID sets of both families: immutable values, their algebra and their text. See ``gtid_set`` for the theory."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid.gtid_set import DomainServer, Family, GtidSet, Source
from orchestrator_raft.core.gtid.mariadb import MariadbGtidSet, parse_mariadb
from orchestrator_raft.core.gtid.mysql import MysqlGtidSet, parse_mysql

__all__ = [
    "EMPTY_MARIADB",
    "EMPTY_MYSQL",
    "DomainServer",
    "Family",
    "GtidSet",
    "MariadbGtidSet",
    "MysqlGtidSet",
    "Source",
    "parse",
    "parse_mariadb",
    "parse_mysql",
]

EMPTY_MYSQL = MysqlGtidSet()
EMPTY_MARIADB = MariadbGtidSet()

_PARSERS: dict[str, Callable[[str], GtidSet]] = {"mysql": parse_mysql, "mariadb": parse_mariadb}


def parse(family: str, text: str) -> GtidSet:
    """The set of a family ("mysql" or "mariadb", see ``GtidSet.family``) from its text. Raises InvalidInput."""
    parser = _PARSERS.get(family)
    if parser is None:
        raise InvalidInput(f"'{family}' is no family of GTID sets: it is one of {', '.join(_PARSERS)}")
    return parser(text)
