"""The fleets and recoveries that are interrupted, and in which servers die, at every point."""

from __future__ import annotations

from orchestrator_raft.core.recovery.model import Request
from tests.recovery.harness import Story

STAR = """
P 10.0.0.1:3306 {p}
  + R1 10.0.0.2:3306 {r1}
  + R2 10.0.0.3:3306 {r2}
  + R3 10.0.0.4:3306 {r3}
"""


def star(p: str = "semi-sync=1", r1: str = "", r2: str = "", r3: str = "", policy: str = "") -> str:
    return policy + STAR.format(p=p, r1=r1, r2=r2, r3=r3)


PERSON = Request(by="anna", forced=True)

STORIES = (
    Story("dead primary", star(), change=("P dead",)),
    Story("dead primary, two ackers", star("semi-sync=2"), change=("P dead", "R3 dead")),
    Story("dead primary, no semi-sync", star(""), change=("P dead",), promise=False),
    Story(
        "dead primary, the newest data must be fetched", star(r1="rule=must_not"),
        change=("R2,R3 has=P:1-100", "P dead"),
    ),
    Story("dead primary, successor has to drain", star(), change=("R1 received=P:1-101", "R1 drained", "P dead")),
    Story("dead primary, an acker is missing", star(), change=("R2 cut", "P dead")),
    Story("living primary declared dead", star("semi-sync=1 events=on"), request=PERSON),
    Story("unreachable primary declared dead", star(), change=("P cut",), request=PERSON),
    Story("unfit replicas", star(r1="rule=must_not", r2="delay=60", r3="nolog"), request=PERSON),
    Story("dead co-primary", star(), change=("P from=R1", "P dead")),
    Story("takeover", star(), kind="takeover", request=PERSON),
    Story("takeover, two ackers", star("semi-sync=2 events=on"), kind="takeover", request=PERSON),
    Story("takeover, no semi-sync", star(""), kind="takeover", request=PERSON, promise=False),
    Story("takeover, successor behind", star(), kind="takeover", change=("R1,R2,R3 stuck",), request=PERSON),
)  # fmt: skip
