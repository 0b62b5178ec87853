"""The configuration read again while a node runs: on SIGHUP, and when somebody asks for ``reload-configuration``.

What decisions are made by (filters, limits, switches), the hooks' commands and the HTTPS certificate count from then
on. Every other key counts after a restart: the node says which ones have changed. Nothing is taken over from files that
have an error, so a node never runs with half of a configuration. Names of keys are told, values never.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from api.tls import ServerTls
from orchestrator_raft.app.plain import (
    api_of,
    consul_of,
    detection_of,
    hooks_of,
    https_of,
    mysql_of,
    policy_of,
    proxysql_settings_of,
    raft_of,
    salvage_of,
    webhooks_of,
)
from orchestrator_raft.config import Loaded, Settings, load
from orchestrator_raft.config.registry import KEYS
from orchestrator_raft.core.errors import InvalidInput, StartupError
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.hooks.commands import HookSettings
from orchestrator_raft.ports import Reloaded

log = structlog.get_logger("orchestrator_raft")


class _Reads:
    """Stands for the settings and notes which fields are read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.fields: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        made = getattr(type(self._settings), name, None)
        if isinstance(made, property) and made.fget is not None:  # what it is made of counts, not its own name
            return made.fget(self)
        self.fields.add(name)
        return getattr(self._settings, name)


OTHERS = (detection_of, mysql_of, raft_of, api_of, https_of, consul_of, proxysql_settings_of, webhooks_of, salvage_of)
"""Made once, when the node starts: a field that one of these reads, too, counts after a restart."""
PACE = frozenset({"instance_poll_seconds"})
"""So does the pace of probing."""


def fields_that_count(settings: Settings) -> frozenset[str]:
    """The fields from which the policy and the hooks alone are made, found by having all of it made."""
    counting: Any = _Reads(settings)
    policy_of(counting)
    hooks_of(counting)
    fixed: Any = _Reads(settings)
    for make in OTHERS:
        make(fixed)
    return frozenset(counting.fields - fixed.fields - PACE)


class Reloader:
    """Reads the files of a running node again."""

    def __init__(
        self, loaded: Loaded, *, use_policy: Callable[[Policy], None], use_hooks: Callable[[HookSettings], None],
        tls: ServerTls | None,
    ) -> None:  # fmt: skip
        self._files = loaded.files
        self._settings = loaded.settings
        self._use_policy = use_policy
        self._use_hooks = use_hooks
        self._tls = tls

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(map(str, self._files))

    def __call__(self) -> Reloaded:
        """Raises InvalidInput with everything that is wrong; then nothing has changed."""
        try:
            new = load(self._files, os.environ).settings
            counts = fields_that_count(new)
            if self._tls is not None:
                self._tls.reload()
        except StartupError as error:
            raise InvalidInput(f"what was read before stays in use: {error}") from error
        differing = [name for name in type(new).model_fields if getattr(new, name) != getattr(self._settings, name)]
        counting = [name for name in differing if name in counts]
        in_use = self._settings.model_copy(update={name: getattr(new, name) for name in counting})
        self._use_policy(policy_of(in_use))
        self._use_hooks(hooks_of(in_use))
        self._settings = in_use
        waiting = [name for name in differing if name not in counting]
        return Reloaded(files=self.files, changed=_keys(counting), need_restart=_keys(waiting))

    def on_signal(self) -> None:
        """SIGHUP: the outcome goes into the log."""
        try:
            found = self()
        except InvalidInput as error:
            log.error("SIGHUP: nothing was taken over", cause=str(error))
            return
        certificate = "; the HTTPS certificate was read again and is used from the next connection on"
        log.info(
            f"SIGHUP: the configuration was read again{certificate if self._tls is not None else ''}",
            changed=", ".join(found.changed) or "nothing", need_restart=", ".join(found.need_restart) or "nothing",
        )  # fmt: skip


def _keys(fields: Sequence[str]) -> tuple[str, ...]:
    names = {key.field: key.name for key in KEYS.values() if key.field}
    return tuple(sorted(names.get(field, field) for field in fields))
