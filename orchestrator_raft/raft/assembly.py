"""What a node is made of, put together at its start and taken apart at its end."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.errors import InvalidInput, StartupError
from orchestrator_raft.raft.clock import boot_time_s
from orchestrator_raft.raft.data_dir import DataDir
from orchestrator_raft.raft.driver import Driver
from orchestrator_raft.raft.identity import Identity, identify
from orchestrator_raft.raft.machine import Replicated
from orchestrator_raft.raft.membership import Contact
from orchestrator_raft.raft.recover import FACT as RECOVERED
from orchestrator_raft.raft.replica import Replica
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.secret import own_secret
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address, RaftSettings
from orchestrator_raft.raft.sqlite_store import SqliteStore
from orchestrator_raft.raft.store import MemoryStore, Store
from orchestrator_raft.raft.tls import NodeTls
from orchestrator_raft.raft.transport import Transport

log = logging.getLogger("orchestrator_raft.raft")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a running node holds."""

    roster: Roster
    replica: Replica
    store: Store
    transport: Transport | None
    data_dir: DataDir | None
    recovery: str = ""
    """What ``recover`` has left for the audit trail."""

    async def release(self) -> None:
        """The disk last, and only when nothing is called any more; where it hangs, other tasks go on meanwhile."""
        self.replica.close()
        await asyncio.to_thread(_let_go, self.store, self.data_dir)


def assemble(settings: RaftSettings, own: Address, replicated: Replicated[Any, Any, Any], driver: Driver) -> Parts:
    """All parts, nothing running yet. Raises StartupError and leaves nothing behind."""
    entries = (settings.entries() or (own,)) if settings.enabled else (own,)
    if settings.data_dir is None and len(entries) > 1:
        raise StartupError("RaftDataDir is not set: a node of a cluster needs a directory to keep its word in")
    data_dir = DataDir(settings.data_dir) if settings.data_dir is not None else None
    store = _store(data_dir, driver)
    try:
        image = store.load()
        identity = identify(image.facts, entries, own)
        replica = Replica(
            identity.slot, _other_founders(identity), store=store, image=image, replicated=replicated,
            deliver=driver.deliver, clock=boot_time_s, wall=time.time, timing=settings.timing, limits=settings.limits,
            own=Contact(incarnation=identity.node_id, address=str(own)),
        )  # fmt: skip
        roster = Roster(identity, replica.members)
        roster.check_own_address()
        transport = _transport(settings, roster, data_dir, driver, replica)
    except InvalidInput as error:
        _let_go(store, data_dir)
        raise StartupError(f"{store.where} cannot be read by this version: {error}") from error
    except BaseException:
        _let_go(store, data_dir)
        raise
    for warning in replica.warnings:
        log.warning("%s: passed over %s", store.where, warning)
    facts = {name: value for name, value in roster.facts().items() if image.facts.get(name) != value}
    if facts:
        replica.save_facts(facts)
    return Parts(
        roster=roster, replica=replica, store=store, transport=transport, data_dir=data_dir,
        recovery=image.facts.get(RECOVERED, ""),
    )  # fmt: skip


def _other_founders(identity: Identity) -> tuple[str, ...] | None:
    """With whom this node founded its cluster; None if it did not."""
    return tuple(slot for slot in identity.founders if slot != identity.slot) if identity.founders else None


def _let_go(store: Store, data_dir: DataDir | None) -> None:
    """While its disk hangs the directory stays locked: another process must not read what may still be written."""
    store.close()
    if isinstance(store, SqliteStore) and store.is_writing:
        log.error("%s: the disk does not answer; the directory stays locked until this process ends", store.where)
    elif data_dir is not None:
        data_dir.release()


def _store(data_dir: DataDir | None, driver: Driver) -> Store:
    if data_dir is None:
        return MemoryStore()

    def failed(error: BaseException) -> None:
        driver.fail(RuntimeError(f"cannot write {data_dir.store}: {error}"))

    notify = asyncio.get_running_loop().call_soon_threadsafe
    return SqliteStore(data_dir.store, notify=notify, on_synced=driver.synced, on_failure=failed)


def _transport(
    settings: RaftSettings, roster: Roster, data_dir: DataDir | None, driver: Driver, replica: Replica
) -> Transport | None:
    if data_dir is None or not settings.enabled:
        return None
    tls = NodeTls(settings.tls, roster.addresses[roster.slot].host) if settings.tls is not None else None
    security = Security(own_secret(data_dir.path), tls, settings.plaintext)
    return Transport(
        roster, security, driver, tasks=driver.tasks, clock=boot_time_s, frame_bytes=settings.limits.frame_bytes,
        levels=replica.members.levels, level=lambda: replica.members.level,
        term=lambda: replica.term,
    )  # fmt: skip
