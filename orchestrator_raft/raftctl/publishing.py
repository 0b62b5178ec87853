"""What raftctl shows of what the outside is told: publications, targets that are behind, hooks to be tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator_raft.raftctl import views

GOOD = ("current", "waiting")


def publications(value: Any) -> views.View:
    """One row for each record and target; what is not published comes with the reason."""
    records = _objects(value)
    rows = tuple(row for record in records for row in _rows(record))
    columns = ("ALIAS", "PRIMARY", "GENERATION", "TARGET", "STANDING", "HAS", "AT", "DETAIL")
    return (views.Table(columns, rows, "no cluster has an alias, so nothing is published"),)


def _rows(record: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    generation = str(record.get("generation") or "")
    head = (str(record.get("alias") or record.get("cluster_id") or ""), str(record.get("primary") or ""), generation)
    targets = _objects(record.get("targets"))
    if not targets:
        standing = "not published" if not generation else ""
        yield (*head, "", standing, "", "", str(record.get("note") or "no target is configured"))
    for target in targets:
        at = views.moment(target.get("at_ms")) if target.get("at_ms") else ""
        yield (
            *head, str(target.get("target") or ""), str(target.get("standing") or ""),
            str(target.get("generation") or ""), at, str(target.get("detail") or ""),
        )  # fmt: skip


def complaints(value: Any) -> list[str]:
    """Problems for ``raftctl status``, one a target and cause."""
    found: dict[str, list[str]] = {}
    for record in _objects(value):
        for target in _objects(record.get("targets")):
            if target.get("standing") not in GOOD:
                text = f"{target.get('target')} has not the newest primary: {target.get('detail')}"
                found.setdefault(text, []).append(str(record.get("alias")))
    return [f"{', '.join(aliases)}: {text}" for text, aliases in found.items()]


def hooks_shown(value: Any) -> views.View:
    """Each hook with its text, and then what commands have in their environment."""
    shown = _objects(value.get("result")) if isinstance(value, dict) else []
    lines: list[str] = []
    for hook in shown:
        lines += [f"{hook.get('label')}:", *(f"  {line}" for line in str(hook.get("text", "")).splitlines())]
    environment: dict[str, str] = next((each["environment"] for each in shown if each.get("environment")), {})
    if environment:
        lines += ["", "environment:", *(f"  {name}={text}" for name, text in environment.items())]
    return (views.Lines(tuple(lines) or ("the list is empty",)),)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
