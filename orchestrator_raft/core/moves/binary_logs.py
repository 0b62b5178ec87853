"""Plans for what is in one server's binary logs: logs flushed and deleted, errant transactions forgotten or shared.

Theory. What an errant transaction changed stays where it is; only its number can be taken away (its server forgets it,
with all of its binary logs) or given to everybody (the primary writes it empty). What a server counts as executed once
it stands still is recorded before its binary logs are emptied, since afterwards nobody can tell.
"""

from __future__ import annotations

import re
from dataclasses import replace

from orchestrator_raft.core.analysis.errant import errant_gtids
from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Facts, Flavor
from orchestrator_raft.core.moves.alone import EXTRA_MAX, act_on, answering, as_it_runs, plan_for, replica
from orchestrator_raft.core.moves.check import too_few_ackers
from orchestrator_raft.core.moves.model import Act, Plan, Planned, Refusal, Stage, Verb, Wish
from orchestrator_raft.core.moves.one import drained
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

INJECTED_MAX = 1000
"""So many empty transactions in one operation; each waits for its acknowledgements."""
LOG_FILE = re.compile(r"[\w.@+-]{1,255}")
LATEST = "latest"
RECORDED_MAX = 65_536
"""Characters of a GTID set that go into the record of an operation."""


def flush_binary_logs(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = _with_binary_log(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _ = found
    stage = Stage(text="a new binary log", acts=(act_on(server, Verb.FLUSH),), is_final=True, repeats=False)
    return plan_for(server, f"{server.key} begins a new binary log", stage)


def purge_binary_logs(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """Delete the logs before one; refused while a replica still has to read one of them, unless forced."""
    found = _with_binary_log(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    log_file = _latest(topology, server, facts) if wish.text == LATEST else wish.text
    if not log_file:
        return Refusal(f"it is not known which binary log {server.key} writes now: name one")
    if not LOG_FILE.fullmatch(log_file):
        return Refusal(f"'{log_file}' is no name of a binary log")
    needing = [] if wish.forced else _still_needing(topology, server, log_file)
    if needing:
        names = "; ".join(needing)
        return Refusal(
            f"Unsafe to purge binary logs on {server.key} up to {log_file}: {names} (force=true does it all the same)"
        )
    stage = Stage(text="delete binary logs", acts=(act_on(server, Verb.PURGE, text=log_file),), is_final=True)
    return plan_for(server, f"{server.key} has no binary log before {log_file}", stage)


def _with_binary_log(topology: Topology, wish: Wish) -> tuple[Server, Facts] | Refusal:
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    return found if found[1].binlog.enabled else Refusal(f"{wish.server} has no binary log")


def _latest(topology: Topology, server: Server, facts: Facts) -> str:
    """The log that is being written; MySQL is not asked for it with every probe, but its replicas know."""
    known = [facts.binlog.coordinates.log_file]
    for each in topology.replicas_of(server.key):
        channel = each.fresh.channel if each.fresh is not None else None
        known.append(channel.read.log_file if channel is not None else "")
    return max(known, key=_number)


def _still_needing(topology: Topology, server: Server, log_file: str) -> list[str]:
    """Replicas that have not applied all that stands before ``log_file``, or of which that is not known."""
    found: list[str] = []
    for each in topology.replicas_of(server.key):
        channel = each.fresh.channel if each.fresh is not None else None
        if channel is None:
            found.append(f"{each.key} does not answer")
        elif _number(channel.executed.log_file) < _number(log_file):
            found.append(f"{each.key} is at {channel.executed.log_file or 'an unknown place'}")
    return found


def _number(log_file: str) -> int:
    digits = log_file.rpartition(".")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else -1


# -- errant transactions


def errant_of(topology: Topology, server: Server) -> GtidSet | Refusal:
    """The errant transactions of a MySQL server, or why there are none to do anything about."""
    if server.fresh is not None and server.fresh.flavor is not Flavor.MYSQL:
        return Refusal(f"{server.key} is {server.fresh.flavor.value}: that is for MySQL's GTIDs")
    found = errant_gtids(topology, server)
    if found is None:
        return Refusal(f"{server.key} was not read before its source, or one of them has no GTIDs", passes=True)
    return found or Refusal(f"no errant GTID is found on {server.key}")


def forget_errant(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """``gtid-errant-reset-master``: its data stays, the numbers of its errant transactions go, and its binary logs."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts, channel = found
    errant = errant_of(topology, server)
    if isinstance(errant, Refusal):
        text = f"gtid-errant-reset-master will not operate on {server.key} because {errant.reason}"
        return replace(errant, reason=text)
    if server.replicas or facts.replica_ids:
        count = max(len(server.replicas), len(facts.replica_ids or ()))
        return Refusal(f"gtid-errant-reset-master will not operate on {server.key} because it has {count} replicas")
    few = too_few_ackers(topology, (server.key,))
    if few:
        return Refusal(few)
    if facts.executed is not None and len(str(facts.executed)) > RECORDED_MAX:
        return Refusal(f"what {server.key} has executed is too long a text to be recorded: do it there by hand")
    back = as_it_runs(server, channel)
    stop = Stage(
        text=f"{server.key} stands still", acts=(*drained(server, facts), act_on(server, Verb.STOP)), undo=back
    )
    reset = Stage(
        text="binary logs are emptied", acts=(act_on(server, Verb.FORGET_GTIDS, text=str(errant)),), is_final=True
    )
    warnings = (
        f"what its errant transactions changed stays in the data of {server.key}: {errant.describe(EXTRA_MAX)}",
        f"the binary logs of {server.key} are emptied",
    )
    stages = (stop, reset, *(Stage(text="start", acts=back) for _ in back[:1]))
    planned = plan_for(server, f"{server.key} forgets its errant transactions", *stages, warnings=warnings)
    source = (server.source,) if server.source is not None else ()
    return replace(planned, reads=(server.key, *source))  # what is errant shows against a source that was read later


def inject_empty(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """``gtid-errant-inject-empty``: the primary writes them empty, so that everybody has them."""
    server = topology.server(wish.server)
    errant = errant_of(topology, server)
    if isinstance(errant, Refusal):
        return replace(errant, reason=f"gtid-errant-inject-empty: {errant.reason}")
    if errant.count() > INJECTED_MAX:
        return Refusal(f"{server.key} has {errant.count():,} errant transactions, more than {INJECTED_MAX} at once")
    primary = topology.primary_of(server.cluster_id)
    if primary is None or primary.fresh is None or not primary.fresh.is_writable:
        return Refusal(f"gtid-errant-inject-empty found no writable master for {server.key}")
    act = Act(verb=Verb.INJECT, key=primary.key, text=str(errant), deadline_s=60.0)
    warning = f"what they changed stays in the data of {server.key} alone"
    text = f"{primary.key} has {errant.describe(EXTRA_MAX)}, empty"
    return Plan(
        text=text, stages=(Stage(text="empty transactions", acts=(act,), is_final=True),),
        reads=(server.key, primary.key), movers=(primary.key,), shown=primary.key, warnings=(warning,),
    )  # fmt: skip
