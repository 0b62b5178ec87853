"""From files and environment to ``Settings``: the steps in their order, all problems told at once.

1. read each file (``document``); later files override earlier ones, maps are joined
2. names in any letter case to keys; remarks are skipped, unknown and retired names reported
3. JSON types; null means "not set", or an empty list or map, as in orchestrator
4. old names (``checks``), environment (``environment``), limits and forms (the model), credentials file
5. rules between keys (``checks``); what is set and not used

A step works on the keys that were right so far, so that one wrong key hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from orchestrator_raft.config.checks import check_rules, merge_old_names
from orchestrator_raft.config.credentials import BadCredentials, read_credentials
from orchestrator_raft.config.document import Document, read_document
from orchestrator_raft.config.environment import expand, expand_secret
from orchestrator_raft.config.findings import Findings, error, note, shown, total, warning
from orchestrator_raft.config.keys import Kind
from orchestrator_raft.config.model import Settings
from orchestrator_raft.config.registry import KEYS, KnownKey, Use, find, is_remark, is_retired, nearest
from orchestrator_raft.core.errors import StartupError

SEARCH_PATHS = (
    Path("/etc/orchestrator.conf.json"),
    Path("conf/orchestrator.conf.json"),
    Path("orchestrator.conf.json"),
)
_CREDENTIALS = ("MySQLTopologyUser", "MySQLTopologyPassword")
_FILE_KEY = "MySQLTopologyCredentialsConfigFile"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used; warnings and notes are lines for the log, ``files`` those that were read."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that reading found; ``settings`` is to be used only if there are no errors."""

    settings: Settings
    findings: Findings
    files: tuple[Path, ...]


@dataclass(slots=True)
class _Values:
    """Values by key on their way through the steps, and the keys that are wrong and go no further."""

    of: dict[str, Any] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)

    def drop(self, name: str) -> None:
        self.of.pop(name, None)
        self.wrong.add(name)


def load(paths: Sequence[Path], environ: Mapping[str, str], search_paths: Sequence[Path] = SEARCH_PATHS) -> Loaded:
    """Read the files named, or those of ``search_paths`` that exist if none is named.

    Raises StartupError with every problem, one per line.
    """
    outcome = read(paths, environ, search_paths)
    if outcome.findings.errors:
        raise StartupError("\n".join(outcome.findings.errors))
    return Loaded(outcome.settings, outcome.findings.warnings, outcome.findings.notes, outcome.files)


def read(paths: Sequence[Path], environ: Mapping[str, str], search_paths: Sequence[Path] = SEARCH_PATHS) -> Outcome:
    """The same without raising: for ``config check``, which shows errors, warnings and notes together."""
    files = tuple(paths) or tuple(path for path in search_paths if path.exists())
    if not files:
        names = ", ".join(str(path) for path in search_paths)
        return Outcome(Settings(), error(f"no configuration file: name one with --config; looked for {names}"), ())
    parts = [read_document(path) for path in files]
    found = total(findings for _, findings in parts)
    documents = [document for document, _ in parts if document is not None]
    if len(documents) < len(parts):
        return Outcome(Settings(), found, files)
    values = _Values()
    found += total(_known(document, values) for document in documents)
    values.of, merging = merge_old_names(values.of)
    found += merging + _expanded(values, environ)
    settings, refused = _settings(values)
    settings, credentials = _with_credentials(settings, values, environ)
    found += refused + credentials + check_rules(settings, values.wrong) + total(_without_effect(settings, values))
    return Outcome(settings, found, files)


def _known(document: Document, values: _Values) -> Findings:
    """Take the values of one file over into ``values``; report names and types that are not right."""
    found = Findings()
    retired: list[str] = []
    for name, value in document.values.items():
        key = find(name)
        if key is not None and name in document.wrong:
            values.drop(key.name)
        elif key is not None:
            found += _take(document.path, key, value, values)
        elif is_retired(name):
            retired.append(name)
        elif not is_remark(name):
            found += warning(f"{document.path}: {_unknown(name)}")
    if retired:
        found += note(f"{document.path}: without effect, in orchestrator as here: {', '.join(sorted(retired))}")
    return found


def _unknown(name: str) -> str:
    guess = nearest(name)
    advice = f"did you mean {guess}?" if guess else "no known key is like it"
    return f"{shown(name)}: unknown key, without effect: {advice}"


def _take(path: Path, key: KnownKey, value: Any, values: _Values) -> Findings:
    if value is None:
        empty: Mapping[Kind, Any] = {Kind.TEXTS: [], Kind.TEXT_MAP: {}}
        if key.kind in empty:
            values.of[key.name] = empty[key.kind]
        return Findings()
    if not key.kind.fits(value):
        values.drop(key.name)
        return error(f"{path}: {_wrong_type(key, value)}")
    if key.kind is Kind.TEXT_MAP:
        value = {**values.of.get(key.name, {}), **value}
    values.of[key.name] = value
    return Findings()


def _wrong_type(key: KnownKey, value: Any) -> str:
    said = "a value that is not shown" if key.secret else shown(value)
    hint = ""
    if key.kind in (Kind.WHOLE, Kind.NUMBER, Kind.FLAG) and isinstance(value, str):
        hint = ", without quotes"
    elif key.kind is Kind.TEXTS and isinstance(value, str):
        hint = ", in brackets: [...]"
    return f"{key.name}: is {said}, must be {key.allowed}{hint}"


def _expanded(values: _Values, environ: Mapping[str, str]) -> Findings:
    found = Findings()
    for name, value in list(values.of.items()):
        if KEYS[name].use is Use.UNUSED:
            continue
        values.of[name], findings = expand(KEYS[name], value, environ)
        if findings.errors:
            values.drop(name)
        found += findings
    return found


def _settings(values: _Values) -> tuple[Settings, Findings]:
    """Let the model judge; a key that it refuses keeps its default, so that the others can be looked at."""
    given = {name: _frozen(value) for name, value in values.of.items() if KEYS[name].field}
    try:
        return Settings.model_validate(given), Findings()
    except ValidationError as problem:
        refused = {str(part["loc"][0]): part for part in problem.errors(include_url=False)}
    found = total(error(_refusal(KEYS[name], values.of[name], refused[name])) for name in given if name in refused)
    for name in refused:
        values.drop(name)
    settings = Settings.model_validate({name: value for name, value in given.items() if name not in refused})
    return settings, found


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list) else value


def _refusal(key: KnownKey, value: Any, problem: Mapping[str, Any]) -> str:
    said = "a value that is not shown" if key.secret else shown(value)
    if problem["type"] == "value_error":
        return f"{key.name}: {said} {problem['ctx']['error']}"
    return f"{key.name}: is {said}, must be {key.allowed}"


def _with_credentials(settings: Settings, values: _Values, environ: Mapping[str, str]) -> tuple[Settings, Findings]:
    """The credentials file wins over the plain keys, name by name; a password there may be ``${NAME}``, too."""
    path = settings.mysql_topology_credentials_config_file
    if not path:
        return settings, Findings()
    try:
        credentials = read_credentials(Path(path))
    except BadCredentials as problem:
        values.wrong.update(_CREDENTIALS)
        return settings, error(f"{_FILE_KEY}: {shown(path, 200)} {problem}")
    changes: dict[str, Any] = {}
    found = Findings()
    if credentials.user is not None:
        changes["mysql_topology_user"] = credentials.user
    if credentials.password is not None:
        password, found = expand_secret(f"{_FILE_KEY}: {shown(path, 200)}: password", credentials.password, environ)
        changes["mysql_topology_password"] = SecretStr(password)
    return settings.model_copy(update=changes), found


def _without_effect(settings: Settings, values: _Values) -> Iterator[Findings]:
    """Keys that the file sets to something else than their default, and that change nothing here."""
    quiet: dict[str, list[str]] = {}
    for name, value in values.of.items():
        key = KEYS[name]
        if key.use is Use.NOT_YET and getattr(settings, key.field) != getattr(_DEFAULTS, key.field):
            yield warning(f"{name}: {key.use.value}: {key.reason}")
        elif key.use is Use.UNUSED and not key.is_default(value):
            if key.quiet:
                quiet.setdefault(key.reason, []).append(name)
            else:
                yield warning(f"{name}: {key.use.value}: {key.reason}")
    yield from (_quiet_note(reason, names) for reason, names in quiet.items())


def _quiet_note(reason: str, names: Iterable[str]) -> Findings:
    return note(f"{', '.join(names)}: not needed: {reason}")


_DEFAULTS = Settings()
