"""Regular expressions that people send with a request: only those whose search surely ends soon.

Theory. They are tried while a plan is made, in the loop that everything else of the leader waits for, and nothing can
interrupt one. Where a part that is repeated can itself match in several ways, the number of ways to try doubles with
each character of a server's name; a row of many repetitions does nearly the same. So neither is taken. What people
write to choose servers needs neither.
"""

from __future__ import annotations

import re

from orchestrator_raft.core.moves.model import Refusal

PATTERN_CHARACTERS_MAX = 200
QUANTIFIERS_MAX = 5
ADVICE = "simplify it, or use several requests"
_TOKEN = re.compile(
    r"(?P<escape>\\.)"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<unreadable>\(\?(?:\#|[a-zA-Z-]*x))"
    r"|(?P<begin>\(\??)"
    r"|(?P<end>\))"
    r"|(?P<alternative>\|)"
    r"|(?P<quantifier>(?:[*+?]|\{\d*,?\d*\})[?+]?)",
    re.DOTALL,
)


def compiled(pattern: str) -> re.Pattern[str] | Refusal:
    """The expression, or why it is not taken."""
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        return Refusal(f"the pattern has {len(pattern)} characters, more than {PATTERN_CHARACTERS_MAX}: {ADVICE}")
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError) as error:
        return Refusal(f"'{pattern}' is no regular expression: {error}")
    why_not = too_costly(pattern)
    return Refusal(f"'{pattern}' could take too long: {why_not}; {ADVICE}") if why_not else found


def too_costly(pattern: str) -> str:
    """Why a search for this valid expression might take too long; empty where it does not.

    A group is repeated by ``*``, ``+`` and ``{}``; ``?`` only makes it optional.
    """
    tokens = [(each.lastgroup, each[0], each.end()) for each in _TOKEN.finditer(pattern)]
    kinds = [kind for kind, _, _ in tokens]
    if "unreadable" in kinds:
        return "comments and the flag x are not taken"
    if kinds.count("quantifier") > QUANTIFIERS_MAX:
        return f"it has more than {QUANTIFIERS_MAX} quantifiers"
    varies = [False]
    ended_at, ended_varies = -1, False
    for kind, said, end in tokens:
        if kind == "begin":
            varies.append(False)
        elif kind == "end":
            ended_at, ended_varies = end, varies.pop()
            varies[-1] = varies[-1] or ended_varies
        elif kind == "quantifier" and not said.startswith("?") and ended_at == end - len(said) and ended_varies:
            return "a group that is repeated contains a quantifier or an alternative itself"
        elif kind in ("quantifier", "alternative"):
            varies[-1] = True
    return ""
