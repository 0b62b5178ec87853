"""What people ask about the configuration: is my file right, what does this key do, which keys are there.

The texts are made from the table of keys, so the reference page and the schema cannot drift from the code;
``python -m orchestrator_raft.config DIRECTORY`` writes both into the directory of the documents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator_raft.config.findings import Findings, shown
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.load import SEARCH_PATHS, read
from orchestrator_raft.config.other_keys import RETIRED
from orchestrator_raft.config.registry import KEYS, KnownKey, Use, find, is_retired, nearest
from orchestrator_raft.core.errors import InvalidInput

PAGE_NAME = "configuration.md"
SCHEMA_NAME = "orchestrator.conf.schema.json"
BEGIN, END = "<!-- begin: keys -->", "<!-- end: keys -->"
_JSON_TYPES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.FLAG: {"type": "boolean"},
    Kind.WHOLE: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.TEXT: {"type": "string"},
    Kind.TEXTS: {"type": "array", "items": {"type": "string"}},
    Kind.TEXT_MAP: {"type": "object", "additionalProperties": {"type": "string"}},
}


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of ``config check``. ``text`` is for a person, ``ok`` for the exit code."""

    findings: Findings
    files: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        return not self.findings.errors

    @property
    def text(self) -> str:
        found = self.findings
        lines = [f"read {path}" for path in self.files]
        lines += [f"error: {line}" for line in found.errors]
        lines += [f"warning: {line}" for line in found.warnings]
        lines += [f"note: {line}" for line in found.notes]
        verdict = "can be used" if self.ok else "cannot be used"
        counts = f"{len(found.errors)} errors, {len(found.warnings)} warnings, {len(found.notes)} notes"
        return "\n".join([*lines, f"{verdict}: {counts}"])


def check(path: Path | None, strict: bool, environ: Mapping[str, str] | None = None) -> Report:
    """Read a file (None: those of the search order) and tell everything about it; ``strict`` makes warnings errors."""
    paths = () if path is None else (path,)
    outcome = read(paths, os.environ if environ is None else environ, SEARCH_PATHS)
    found = outcome.findings
    if strict:
        found = Findings(errors=found.errors + found.warnings, notes=found.notes)
    return Report(found, outcome.files)


def explain(name: str) -> str:
    """Everything about one key, its name in any letter case. Raises InvalidInput for an unknown one."""
    key = find(name)
    if key is None and is_retired(name):
        return f"{name}\n  Without effect, in orchestrator as here: it can be removed."
    if key is None:
        guess = nearest(name)
        advice = f": did you mean {guess}?" if guess else ""
        raise InvalidInput(f"{shown(name)} is no key of the configuration{advice}")
    return "\n  ".join([key.name, *_sentences(key)])


def _sentences(key: KnownKey) -> list[str]:
    lines = [key.help] if key.help else []
    lines.append(f"{_sentence(key.allowed)}; default {shown(key.default, 200)}.")
    if key.reason:
        lines.append(f"{_sentence(key.use.value)}: {key.reason}.")
    if key.expands:
        lines.append("${NAME} is replaced by the environment variable NAME.")
    if key.secret:
        lines.append("Its value is never shown.")
    if key.ours:
        lines.append("Unknown to orchestrator, which ignores it.")
    return lines


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, for editors and CI."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestrator.conf.json as orchestrator_raft reads it",
        "description": "Keys may also be written in other letter cases; an unknown key is a warning, not an error.",
        "type": "object",
        "properties": {key.name: _property(key) for key in KEYS.values()}
        | {
            name: {"description": "Without effect, in orchestrator as here.", "deprecated": True}
            for name in sorted(RETIRED)
        },
        "patternProperties": {"^(_|//|#|\\$schema$)": {"description": "A remark; not read."}},
        "additionalProperties": False,
    }


def _property(key: KnownKey) -> dict[str, Any]:
    described: dict[str, Any] = {**_JSON_TYPES[key.kind], "description": " ".join(_sentences(key))}
    described["default"] = key.default
    if key.choices:
        described["enum"] = list(key.choices)
    if key.least is not None:
        described |= {"minimum": key.least, "maximum": key.most}
    if key.use in (Use.UNUSED, Use.OLD):
        described["deprecated"] = True
    if key.secret:
        described["writeOnly"] = True
    return described


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def page_with_keys(page: str) -> str:
    """The reference page with its generated part renewed; what people wrote around it stays."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidInput(f"the page needs the two marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{_tables()}\n{END}{after}"


def _tables() -> str:
    groups: dict[str, list[KnownKey]] = {}
    for key in KEYS.values():
        groups.setdefault("Without effect" if key.use is Use.UNUSED else key.group, []).append(key)
    return "\n".join(_table(heading, keys) for heading, keys in groups.items())


def _table(heading: str, keys: Iterable[KnownKey]) -> str:
    lines = [f"### {heading}", "", "| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    lines += [f"| `{key.name}` | {_cell(key.allowed)} | {_code(key.default)} | {_meaning(key)} |" for key in keys]
    return "\n".join([*lines, ""])


def _meaning(key: KnownKey) -> str:
    marks = [text for text, present in (("`${}`", key.expands), ("secret", key.secret)) if present]
    parts = [_cell(key.help)] if key.help else []
    if key.reason:
        parts.append(f"*{_sentence(key.use.value)}: {_cell(key.reason)}.*")
    if marks:
        parts.append(f"({', '.join(marks)})")
    return " ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("[", "\\[")


def _code(value: Any) -> str:
    return f"`{shown(value, 200)}`"


def write_documents(directory: Path) -> None:
    """Renew the schema and the generated part of the reference page in ``directory``."""
    (directory / SCHEMA_NAME).write_text(schema_text(), encoding="utf-8")
    page = directory / PAGE_NAME
    page.write_text(page_with_keys(page.read_text(encoding="utf-8")), encoding="utf-8")
