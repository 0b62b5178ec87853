"""``${NAME}`` in credentials, addresses and paths is replaced by a variable of the environment (design D9).

Only keys marked ``expands`` take part; hooks, queries, patterns and filters never do, since ``${...}`` means something
there. ``$${NAME}`` stays as ``${NAME}``. The result is not expanded again. orchestrator knows this for the two
passwords only and replaces the whole value; for a value that is nothing but ``${NAME}`` both give the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator_raft.config.findings import Findings, error, total, warning
from orchestrator_raft.config.registry import KnownKey

_VARIABLE = re.compile(r"(?P<literal>\$)?\$\{(?P<name>[^{}]*)\}")
_NEVER = ("Processes", "Query", "Pattern", "Filters")


def expand_text(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its variables replaced, and the names of those that are not defined."""
    missing: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        if match["literal"]:
            return match[0][1:]
        if match["name"] not in environ:
            missing.append(match["name"])
        return environ.get(match["name"], "")

    return _VARIABLE.sub(replacement, text), tuple(missing)


def expand(key: KnownKey, value: Any, environ: Mapping[str, str]) -> tuple[Any, Findings]:
    """One value of the file, its type already checked, as it is meant."""
    if not key.expands:
        return value, _left_alone(key, value)
    if isinstance(value, list):
        items = [expand_text(item, environ) for item in value]
        missing = tuple(name for _, names in items for name in names)
        return [text for text, _ in items], undefined(key.name, missing)
    if isinstance(value, dict):
        pairs = {name: expand_text(text, environ) for name, text in value.items()}
        missing = tuple(name for _, names in pairs.values() for name in names)
        return {name: text for name, (text, _) in pairs.items()}, undefined(key.name, missing)
    if key.secret:
        text, findings = expand_secret(key.name, value, environ)
        return text, findings + _password_remark(key, value)
    text, missing = expand_text(value, environ)
    return text, undefined(key.name, missing)


def expand_secret(where: str, text: str, environ: Mapping[str, str]) -> tuple[str, Findings]:
    """The same for a secret: what looks like a variable inside it may be a part of it, and is not shown."""
    expanded, missing = expand_text(text, environ)
    if missing and not _VARIABLE.fullmatch(text):
        missing = ("...",)
    return expanded, undefined(where, missing)


def undefined(where: str, missing: tuple[str, ...]) -> Findings:
    """One error for each variable that is not defined; ``where`` names the key."""
    advice = "define it, or write $${...} if the text is meant as it stands"
    return total(
        error(f"{where}: the environment variable {name} is not defined: {advice}") for name in dict.fromkeys(missing)
    )


def _left_alone(key: KnownKey, value: Any) -> Findings:
    if key.name.endswith(_NEVER) or not isinstance(value, str) or not _VARIABLE.search(value):
        return Findings()
    return warning(f"{key.name}: ${{...}} is not replaced in this key, only in credentials, addresses and paths")


def _password_remark(key: KnownKey, value: str) -> Findings:
    if key.name != "MySQLTopologyPassword" or not _VARIABLE.search(value) or _VARIABLE.fullmatch(value):
        return Findings()
    return warning(f"{key.name}: only ${{...}} is replaced here; orchestrator would drop the text around it")
