"""Semi-sync for a role, in either dialect and under either names of its variables.

Rules
- The server is asked which variables it has, so a plugin installed a minute ago counts.
- The source side is set up before it is switched on: count and timeout first.
- The replica side takes effect when the receiver connects: where state and wish differ, a running receiver is started
  anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator_raft.core.recovery.steps import SetSemiSync
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.replication import Grammar, failing, restart_receiver
from orchestrator_raft.flavors.rows import named_values

SHOW_VARIABLES = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'"
SHOW_STATUS = "SHOW GLOBAL STATUS LIKE 'rpl\\_semi\\_sync\\_%'"
_PREFIX = "rpl_semi_sync_"


@dataclass(frozen=True, slots=True)
class _Setting:
    """One wish of a step, and the names it may have on a server."""

    what: str
    value: str
    names: tuple[str, ...]
    is_default: bool = False
    """A server without this variable behaves so anyway."""


def plan(grammar: Grammar, step: SetSemiSync) -> tuple[Statement, ...]:
    """Set what the step names, restart the receiver where that is needed, and see that it is so."""
    settings = _settings(step)
    if not settings:
        return ()
    statements = [
        Statement(sql=SHOW_VARIABLES, then=partial(_set, settings)),
        Statement(sql=SHOW_VARIABLES, check=partial(_differing, settings)),
    ]
    if step.replica_enabled is not None:
        statements.append(Statement(sql=SHOW_STATUS, then=partial(_reconnect, grammar, step.replica_enabled)))
    return tuple(statements)


def _settings(step: SetSemiSync) -> tuple[_Setting, ...]:
    found: list[_Setting] = []
    if step.timeout_ms is not None:
        found.append(_Setting("its timeout", str(step.timeout_ms), ("source_timeout", "master_timeout")))
    if step.wait_for_replica_count is not None:
        count = step.wait_for_replica_count
        names = ("source_wait_for_replica_count", "master_wait_for_slave_count")
        found.append(_Setting("waiting for several replicas", str(count), names, is_default=count == 1))
    for enabled, what, names in (
        (step.source_enabled, "semi-sync as a source", ("source_enabled", "master_enabled")),
        (step.replica_enabled, "semi-sync as a replica", ("replica_enabled", "slave_enabled")),
    ):
        if enabled is not None:
            found.append(_Setting(what, "ON" if enabled else "OFF", names, is_default=not enabled))
    return tuple(found)


def _set(settings: tuple[_Setting, ...], rows: Rows) -> tuple[Statement, ...]:
    live = named_values(rows)
    missing = [setting for setting in settings if _name(setting, live) is None and not setting.is_default]
    if missing:
        return (failing(f"the server does not offer {missing[0].what}: install the semi-sync plugins"),)
    return tuple(
        Statement(sql=f"SET GLOBAL {name} = {setting.value}")
        for setting in settings
        if (name := _name(setting, live)) is not None and live[name].upper() != setting.value
    )


def _name(setting: _Setting, live: Mapping[str, str]) -> str | None:
    return next((_PREFIX + name for name in setting.names if _PREFIX + name in live), None)


def _differing(settings: tuple[_Setting, ...], rows: Rows) -> str:
    live = named_values(rows)
    wrong = [
        f"{name} is {live[name]}, not {setting.value}"
        for setting in settings
        if (name := _name(setting, live)) is not None and live[name].upper() != setting.value
    ]
    return "; ".join(wrong)


def _reconnect(grammar: Grammar, wanted: bool, rows: Rows) -> tuple[Statement, ...]:
    """A receiver that acknowledges although it should not, or the other way round, has to connect anew."""
    live = named_values(rows)
    states = [live[name] for word in ("replica", "slave") if (name := f"{_PREFIX}{word}_status") in live]
    if not states or (states[0].upper() == "ON") is wanted:
        return ()
    return (restart_receiver(grammar),)
