"""The event scheduler, said alike by both dialects.

Only the server's scheduler is switched, never an event: what an event is worth on which server is people's to decide
(docs/configuration.md says how). MariaDB wants SUPER for that, MySQL SYSTEM_VARIABLES_ADMIN.
"""

from __future__ import annotations

from functools import partial

from orchestrator_raft.core.recovery.steps import SetEventScheduler
from orchestrator_raft.flavors.base import Rows, Statement
from orchestrator_raft.flavors.rows import text

ASK = "SELECT @@global.event_scheduler AS event_scheduler"


def set_scheduler(step: SetEventScheduler) -> tuple[Statement, ...]:
    """Switch it, unless it is so already, and see that it is so."""
    wanted = "ON" if step.on else "OFF"
    return (
        Statement(sql=ASK, then=partial(_switch, wanted)),
        Statement(sql=ASK, check=partial(_differs, wanted)),
    )


def _switch(wanted: str, rows: Rows) -> tuple[Statement, ...]:
    return () if not _differs(wanted, rows) else (Statement(sql=f"SET GLOBAL event_scheduler = {wanted}"),)


def _differs(wanted: str, rows: Rows) -> str:
    now = text(rows[0], "event_scheduler").upper()
    return "" if now == wanted else f"its event_scheduler is {now}, not {wanted}"
