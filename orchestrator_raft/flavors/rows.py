"""Reading result rows: what both dialects share on the way from rows to facts.

Values arrive as texts or None, exactly as the server sent them. A column that a server of another version does not
have reads as empty, so a new version costs at most a fact; what must be there is asked for with ``only_row``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite

from orchestrator_raft.core.health import Load, ServerSettings
from orchestrator_raft.core.instance import (
    Coordinates,
    Facts,
    InstanceKey,
    Location,
    PromotionRule,
    ThreadState,
)
from orchestrator_raft.flavors.base import Detection, ProbeQuery, Row, Rows

_ON = frozenset({"1", "ON", "YES", "TRUE"})
_THREAD_STATES = {
    "YES": ThreadState.RUNNING,
    "NO": ThreadState.STOPPED,
    "CONNECTING": ThreadState.CONNECTING,
    "PREPARING": ThreadState.CONNECTING,
}

CONFIGURED_QUERIES: tuple[tuple[str, Callable[[Detection], str]], ...] = (
    ("cluster_alias", lambda detection: detection.cluster_alias_query),
    ("cluster_domain", lambda detection: detection.cluster_domain_query),
    ("instance_alias", lambda detection: detection.instance_alias_query),
    ("promotion_rule", lambda detection: detection.promotion_rule_query),
    ("data_center", lambda detection: detection.data_center_query),
    ("region", lambda detection: detection.region_query),
    ("environment", lambda detection: detection.environment_query),
    ("semi_sync_enforced", lambda detection: detection.semi_sync_enforced_query),
    ("lag", lambda detection: detection.lag_query),
)

LASTING = frozenset(name for name, _ in CONFIGURED_QUERIES) - {"lag"} | {"grants"}
"""Queries whose last answer is still the best there is when they fail, or are not asked every time."""


def text(row: Row, column: str) -> str:
    """The value; empty where it is NULL or the column is not there."""
    value = row.get(column)
    return "" if value is None else str(value)


def number(row: Row, column: str) -> int:
    """The value as a whole number; 0 where it is empty. Raises ValueError for anything else."""
    value = text(row, column)
    return int(value) if value else 0


def optional_number(row: Row, column: str) -> int | None:
    value = text(row, column)
    return int(value) if value else None


def flag(row: Row, column: str) -> bool:
    return text(row, column).upper() in _ON


def thread_state(row: Row, column: str) -> ThreadState:
    return _THREAD_STATES.get(text(row, column).upper(), ThreadState.ABSENT)


def coordinates(row: Row, file_column: str, position_column: str) -> Coordinates:
    return Coordinates(text(row, file_column), number(row, position_column))


def only_row(rows: Mapping[str, Rows], name: str) -> Row:
    """The one row of a query that always has one. Raises ValueError when it brought none."""
    found = rows.get(name, ())
    if not found:
        raise ValueError(f"the query '{name}' brought no row")
    return found[0]


def first_row(rows: Mapping[str, Rows], name: str) -> Row:
    """The first row; empty where the query brought none or was left out."""
    found = rows.get(name, ())
    return found[0] if found else {}


def first_value(rows: Mapping[str, Rows], name: str) -> str:
    """First column of the first row, for configured queries; empty where there is none."""
    values = list(first_row(rows, name).values())
    return "" if not values or values[0] is None else str(values[0]).strip()


def named_values(rows: Rows) -> dict[str, str]:
    """Rows of (name, value) as a mapping with lower-case names."""
    pairs = (list(row.values()) for row in rows)
    return {str(pair[0]).lower(): "" if pair[1] is None else str(pair[1]) for pair in pairs}


def one_statement(sql: str) -> str:
    """A configured query without the semicolon at its end."""
    return sql.strip().rstrip(";").rstrip()


def configured_queries(detection: Detection) -> tuple[ProbeQuery, ...]:
    """The queries that people configured, each under its own name."""
    found = ((name, one_statement(query_of(detection))) for name, query_of in CONFIGURED_QUERIES)
    return tuple(ProbeQuery(name, sql, optional=True) for name, sql in found if sql)


def server_key(asked: InstanceKey, variables: Row, detection: Detection) -> InstanceKey:
    """The address by which the server is known. Raises ValueError where the server does not tell the one wanted."""
    method = detection.mysql_hostname_resolve_method
    if method == "none":
        return asked
    port = number(variables, "port") or asked.port
    if method == "@@hostname":
        return InstanceKey(_told(variables, "hostname"), port)
    return InstanceKey(_told(variables, "report_host"), number(variables, "report_port") or port)


def _told(variables: Row, name: str) -> str:
    value = text(variables, name)
    if not value:
        raise ValueError(f"@@{name} is empty: set it, or choose another MySQLHostnameResolveMethod")
    return value


def with_configured(facts: Facts, rows: Mapping[str, Rows], detection: Detection) -> Facts:
    """The facts with what the configured queries and patterns say."""
    host = facts.key.hostname
    return replace(
        facts,
        alias=first_value(rows, "instance_alias"),
        cluster_alias=first_value(rows, "cluster_alias"),
        cluster_domain=first_value(rows, "cluster_domain"),
        location=Location(
            first_value(rows, "data_center") or _matched(detection.data_center_pattern, host),
            first_value(rows, "region") or _matched(detection.region_pattern, host),
            first_value(rows, "environment") or _matched(detection.environment_pattern, host),
        ),
        promotion_rule=_promotion_rule(rows, detection),
        semi_sync_priority=max(0, int(_configured_number(rows, "semi_sync_enforced") or 0)),
        queried_lag_s=_configured_number(rows, "lag"),
    )


def odd_numbers(rows: Mapping[str, Rows]) -> dict[str, str]:
    """Configured queries that had to bring a number and brought something else, with a complaint about each."""
    return {
        name: f"it brought {first_value(rows, name)[:40]!r} and not a number"
        for name in ("semi_sync_enforced", "lag")
        if first_value(rows, name) and _configured_number(rows, name) is None
    }


def _configured_number(rows: Mapping[str, Rows], name: str) -> float | None:
    try:
        value = float(first_value(rows, name))
    except ValueError:
        return None
    return value if isfinite(value) else None


def _promotion_rule(rows: Mapping[str, Rows], detection: Detection) -> PromotionRule:
    """What people said of the server. Where they were asked for it and it could not be read, it is not promoted."""
    if detection.promotion_rule_query and "promotion_rule" not in rows:
        return PromotionRule.MUST_NOT
    named = {rule.value: rule for rule in PromotionRule}
    return named.get(first_value(rows, "promotion_rule").lower(), PromotionRule.NEUTRAL)


def _matched(pattern: str, hostname: str) -> str:
    """The first group of the pattern in the host name; empty without a pattern, a match or a group."""
    match = re.search(pattern, hostname) if pattern else None
    return (match[1] or "") if match is not None and match.re.groups else ""


def replica_keys(rows: Rows) -> tuple[InstanceKey, ...]:
    """Replicas that report an address; the others cannot be found this way."""
    found = (InstanceKey(text(row, "Host"), number(row, "Port")) for row in rows if text(row, "Host"))
    return tuple(sorted(key for key in found if key.port > 0))


def replica_ids(rows: Rows | None) -> tuple[int, ...] | None:
    """Server ids of connected replicas, each once, whether they report an address or not; None without an answer."""
    if rows is None:
        return None
    return tuple(sorted({number(row, "Server_Id") or number(row, "Server_id") for row in rows}))


_SCHEDULER_STATES = {"ON": True, "OFF": False}


def settings(variables: Row) -> ServerSettings:
    """Settings under the names that both dialects' queries give them."""
    return ServerSettings(
        binlog_sync=optional_number(variables, "sync_binlog"),
        redo_flush=optional_number(variables, "redo_flush"),
        net_timeout_s=optional_number(variables, "net_timeout"),
        event_scheduler=_SCHEDULER_STATES.get(text(variables, "event_scheduler").upper()),
    )


def load(variables: Row, status: Mapping[str, str]) -> Load:
    """How full the server is, as far as it told."""
    connections = status.get("threads_connected", "")
    waits = ("innodb_data_pending_fsyncs", "innodb_os_log_pending_fsyncs")
    return Load(
        connections=int(connections) if connections else None,
        connections_max=optional_number(variables, "max_connections"),
        syncs=int(status.get("innodb_data_fsyncs") or 0),
        syncs_pending=sum(int(status.get(name) or 0) for name in waits),
    )


def is_filtered(row: Row) -> bool:
    """Whether a channel's row of replication status names any filter."""
    return any(
        value
        for column, value in row.items()
        if column.startswith("Replicate_") and column != "Replicate_Ignore_Server_Ids"
    )
