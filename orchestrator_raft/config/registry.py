"""Every key that is known, in one table, whatever becomes of it. Built once from the model and ``other_keys``.

The reference page, the JSON Schema, ``config explain`` and the look-up of names all read this table and nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from orchestrator_raft.config.eyes import Eyes
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.model import GROUPS, is_secret, marks
from orchestrator_raft.config.other_keys import NOT_YET, OLD, RETIRED, UNUSED, Merge
from orchestrator_raft.config.repair import RaftTls, Speed
from orchestrator_raft.config.returns import Returns
from orchestrator_raft.config.service import AccessGuards
from orchestrator_raft.config.telling import Telling


class Use(Enum):
    """What becomes of a key."""

    USED = "used"
    NOT_YET = "without effect yet"
    UNUSED = "without effect"
    OLD = "old name"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One key. ``default`` is JSON; ``field`` is its name in Settings, "" if it has none."""

    name: str
    kind: Kind
    default: Any
    group: str
    use: Use = Use.USED
    help: str = ""
    reason: str = ""
    field: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    expands: bool = False
    secret: bool = False
    quiet: bool = False
    ours: bool = False
    merge: Merge | None = None
    new: str = ""

    @property
    def allowed(self) -> str:
        """What may be written, for a person."""
        if self.choices:
            return "one of " + ", ".join(choice or '""' for choice in self.choices)
        if self.least is None or self.most is None:
            return self.kind.value
        return f"{self.kind.value} from {self.least} to {self.most}"

    def is_default(self, value: object) -> bool:
        """Is a JSON value the default, an empty list being as good as none?"""
        if self.kind is Kind.TEXTS and not value:
            return not self.default
        return bool(value == self.default)


_KINDS: Mapping[Any, Kind] = {
    bool: Kind.FLAG, int: Kind.WHOLE, float: Kind.NUMBER, str: Kind.TEXT, SecretStr: Kind.TEXT,
    tuple[str, ...]: Kind.TEXTS, tuple[tuple[str, str], ...]: Kind.TEXT_MAP,
}  # fmt: skip
OURS = (RaftTls, Speed, Eyes, Returns, AccessGuards, Telling)
_REASONS_NOT_YET = {name: row.reason for row in NOT_YET for name in row.names}
_SECRET_UNUSED = ("MySQLOrchestratorPassword", "OAuthClientSecret")


def _json_default(field: FieldInfo, kind: Kind) -> Any:
    default = field.get_default()
    if isinstance(default, SecretStr):
        return ""
    if kind is Kind.TEXT_MAP:
        return dict(default)
    return list(default) if isinstance(default, tuple) else default


def _limit(field: FieldInfo, name: str) -> float | None:
    return next((getattr(part, name) for part in field.metadata if hasattr(part, name)), None)


def _of_field(field_name: str, field: FieldInfo, group: str, ours: bool) -> KnownKey:
    name = field.alias or field_name
    is_choice = get_origin(field.annotation) is Literal
    kind = Kind.TEXT if is_choice else _KINDS[field.annotation]
    return KnownKey(
        name=name, kind=kind, default=_json_default(field, kind), group=group, field=field_name, ours=ours,
        use=Use.NOT_YET if name in _REASONS_NOT_YET else Use.USED, reason=_REASONS_NOT_YET.get(name, ""),
        help=field.description or "", choices=get_args(field.annotation) if is_choice else (),
        least=_limit(field, "ge"), most=_limit(field, "le"),
        expands=bool(marks(field).get("expands")), secret=is_secret(field),
    )  # fmt: skip


def _rows() -> Iterator[KnownKey]:
    for group in GROUPS:
        for field_name, field in group.model_fields.items():
            yield _of_field(field_name, field, group.__doc__ or "", ours=group in OURS)
    for old in OLD:
        yield KnownKey(
            name=old.name, kind=old.kind, default=old.default, group="Old names", use=Use.OLD, merge=old.merge,
            new=old.new, help=f"Old name of {old.new}: {old.merge.value}.",
        )  # fmt: skip
    for row in UNUSED:
        for name, kind, default in row.keys:
            yield KnownKey(
                name=name, kind=kind, default=default, group=row.group, use=Use.UNUSED, reason=row.reason,
                quiet=row.quiet, secret=name in _SECRET_UNUSED,
            )  # fmt: skip


KEYS: Mapping[str, KnownKey] = MappingProxyType({row.name: row for row in _rows()})
_BY_LOWER = {name.lower(): row for name, row in KEYS.items()}
_RETIRED_LOWER = {name.lower() for name in RETIRED}


def find(name: str) -> KnownKey | None:
    """A key by its name in any letter case."""
    return _BY_LOWER.get(name.lower())


def is_retired(name: str) -> bool:
    return name.lower() in _RETIRED_LOWER


def is_remark(name: str) -> bool:
    """Keys that people write into JSON for want of comments, and the one that editors want."""
    return name.startswith(("_", "//", "#")) or name == "$schema"


def nearest(name: str) -> str | None:
    """The known key most like a wrong name, None if nothing is like it."""
    close = difflib.get_close_matches(name.lower()[:200], _BY_LOWER, n=1, cutoff=0.6)
    return _BY_LOWER[close[0]].name if close else None
