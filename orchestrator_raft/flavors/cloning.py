"""MySQL's CLONE plugin: is it there, may we use it, and the copy itself (design D4: rebuild).

Theory. CLONE INSTANCE drops the data of the server it runs on before it copies, and fails after that while
super_read_only is on: so that is turned off first, and read_only stays on, which still keeps applications from writing.
At its end the server restarts by itself where something starts it again (systemd, mysqld_safe); else it ends with 3707,
the copy is whole, and somebody has to start it. What became of it stands in clone_status, which outlives the restart:
it alone tells, since gtid_executed may survive a copy that has dropped the data. So it has to be readable before the
copy, at the donor too, whose accounts the server has afterwards. Other servers' dialects have nothing of the kind.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import Facts, Flavor
from orchestrator_raft.core.recovery.steps import COPIED, COPYING, CheckClone, CloneFrom, ReadCopy
from orchestrator_raft.flavors.base import Account, Rows, Statement
from orchestrator_raft.flavors.options import quoted
from orchestrator_raft.flavors.rows import flag, text

NOT_SUPERVISED = 3707
_ASK = (
    "SELECT (SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone') AS status, "
    "EXISTS (SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = '{privilege}' AND GRANTEE = "
    "CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')) AS granted, "
    "@@global.performance_schema AS shows_copies"
)
ASK_COPY = (
    "SELECT STATE AS state, UNIX_TIMESTAMP(NOW(3)) - UNIX_TIMESTAMP(BEGIN_TIME) AS age_s, ERROR_NO AS error, "
    "ERROR_MESSAGE AS message FROM performance_schema.clone_status"
)
_ASK_READ_ONLY = "SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only"


def plan(step: CheckClone | CloneFrom | ReadCopy, facts: Facts, account: Account | None) -> tuple[Statement, ...]:
    """Statements of these steps."""
    if facts.flavor is not Flavor.MYSQL:
        return (Statement(sql="SELECT VERSION() AS version", check=_no_plugin),)
    if isinstance(step, ReadCopy):
        return (Statement(sql=ASK_COPY),)
    if isinstance(step, CheckClone):
        privilege = "BACKUP_ADMIN" if step.as_donor else "CLONE_ADMIN"
        ask = Statement(sql=_ASK.format(privilege=privilege), check=lambda rows: _complaint(rows, privilege))
        return ask, Statement(sql=ASK_COPY)
    if account is None:
        return (Statement(sql="SELECT CURRENT_USER() AS user", check=_no_account),)
    donor = f"{step.donor.hostname}:{step.donor.port}"
    said = f"CLONE INSTANCE FROM {quoted(account.user)}@{quoted(step.donor.hostname)}:{step.donor.port} IDENTIFIED BY "
    return (
        Statement(sql="SET GLOBAL read_only = ON"),
        Statement(sql="SET GLOBAL super_read_only = OFF"),
        Statement(sql=_ASK_READ_ONLY, check=_is_ready),
        Statement(sql=f"SET GLOBAL clone_valid_donor_list = {quoted(donor)}"),
        Statement(
            sql=f"{said}{quoted(account.password)}", masked=f"{said}'...'", ignored_errors=frozenset({NOT_SUPERVISED})
        ),
    )


def copy_state(rows: Rows, within_s: float) -> str:
    """What became of a copy that began at most ``within_s`` seconds before: COPIED, COPYING, or why there is none."""
    row = rows[0] if rows else {}
    began = text(row, "age_s")
    if not began or float(began) > within_s:
        return "no copy began"
    state = text(row, "state")
    known = {"Completed": COPIED, "In Progress": COPYING}
    return known.get(state, f"{state}: error {text(row, 'error')}: {text(row, 'message')}")


def _no_plugin(rows: Rows) -> str:
    del rows
    return "only MySQL has the CLONE plugin: rebuild this server from a backup"


def _no_account(rows: Rows) -> str:
    del rows
    return "the manager's own account is not known here, so nobody can log in at the donor"


def _complaint(rows: Rows, privilege: str) -> str:
    row = rows[0] if rows else {}
    if text(row, "status") != "ACTIVE":
        return "the CLONE plugin is not active: INSTALL PLUGIN clone SONAME 'mysql_clone.so'"
    if not flag(row, "granted"):
        return f"the manager's account lacks the privilege {privilege}"
    return (
        "" if flag(row, "shows_copies") else "performance_schema is off, so nobody could tell whether a copy is whole"
    )


def _is_ready(rows: Rows) -> str:
    row = rows[0] if rows else {}
    if not flag(row, "read_only"):
        return "it is not read-only"
    return "super_read_only is still on" if flag(row, "super_read_only") else ""
