"""Consul as a target: orchestrator's keys to the letter, all or nothing, and never back. See ``consul_speaker``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

import pytest
import pytest_asyncio
from aiohttp import web

from orchestrator_raft.core.errors import AuthorityLost, OrchestratorError, Refused, ServerError, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.replicated.state import Publication
from orchestrator_raft.kv.consul import ConsulSettings, ConsulTarget
from tests.kv.consul_speaker import Consul

OLD = Publication(alias="shop", cluster_id="1", primary=InstanceKey("db1.example.com", 3306), generation=7, at_ms=1_000)
NEW = replace(OLD, primary=InstanceKey("db2.example.com", 3307), generation=8)
PREFIX = "mysql/master/"


@dataclass
class Bench:
    consul: Consul
    settings: ConsulSettings
    target: ConsulTarget

    async def publish(self, record: Publication, ipv4: str = "", *, forced: bool = False) -> bool:
        published = Published(record=record, ipv4=ipv4)
        return await self.target.publish(published, forced=forced, before_write=lambda: None, timeout_s=30.0)

    def pairs(self, alias: str = "shop") -> dict[str, str | None]:
        names = ("", "/hostname", "/port", "/ipv4", "/ipv6")
        return {name: self.consul.value(f"{PREFIX}{alias}{name}") for name in names}


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    consul = Consul()
    runner = web.AppRunner(consul.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settings = ConsulSettings(address=f"127.0.0.1:{runner.addresses[0][1]}", token="a token")
    target = ConsulTarget(settings)
    try:
        yield Bench(consul, settings, target)
    finally:
        await target.close()
        await runner.cleanup()


async def test_the_keys_are_orchestrators_and_the_record_is_the_whole(bench: Bench) -> None:
    bench.consul.token = "a token"
    assert await bench.publish(OLD, "10.0.0.1")
    assert {
        "": "db1.example.com:3306", "/hostname": "db1.example.com", "/port": "3306", "/ipv4": "10.0.0.1", "/ipv6": "",
    } == bench.pairs()  # fmt: skip
    assert {
        "alias": "shop", "cluster": "1", "hostname": "db1.example.com", "port": 3306, "ipv4": "10.0.0.1", "ipv6": "",
        "generation": 7,
    } == json.loads(bench.consul.value("mysql/master/shop/record") or "")  # fmt: skip
    assert bench.consul.transactions == 1


async def test_what_is_there_already_is_not_written_again(bench: Bench) -> None:
    await bench.publish(OLD)
    assert not await bench.publish(OLD)
    assert bench.consul.transactions == 1


async def test_what_somebody_changed_is_put_right(bench: Bench) -> None:
    await bench.publish(OLD)
    bench.consul.put("mysql/master/shop/hostname", "elsewhere")
    assert await bench.publish(OLD)
    assert bench.pairs()["/hostname"] == "db1.example.com"


async def test_keys_that_orchestrator_wrote_are_taken_over(bench: Bench) -> None:
    bench.consul.put("mysql/master/shop", "db0.example.com:3306")
    assert await bench.publish(OLD)
    assert bench.pairs()[""] == "db1.example.com:3306"


async def test_a_name_that_begins_alike_is_another_one(bench: Bench) -> None:
    await bench.publish(replace(OLD, alias="shop2", generation=99))
    assert await bench.publish(OLD)
    assert bench.pairs("shop2")[""] == "db1.example.com:3306"


async def test_an_older_record_is_refused_and_can_be_forced(bench: Bench) -> None:
    await bench.publish(NEW)
    with pytest.raises(Refused, match=r"generation 8.*--force --cluster shop"):
        await bench.publish(OLD)
    assert bench.pairs()[""] == "db2.example.com:3307"
    assert await bench.publish(OLD, forced=True)
    assert bench.pairs()[""] == "db1.example.com:3306"


async def test_another_primary_of_the_same_generation_is_refused(bench: Bench) -> None:
    await bench.publish(NEW)
    with pytest.raises(Refused, match="another manager"):
        await bench.publish(replace(NEW, primary=InstanceKey("db3.example.com", 3306)))


async def test_a_late_write_of_a_deposed_leader_changes_nothing(bench: Bench) -> None:
    """It read the record before its successor wrote, and writes after."""
    await bench.publish(replace(OLD, generation=6))
    new_target = ConsulTarget(bench.settings)

    async def successor_writes() -> None:
        bench.consul.before_write = None
        published = Published(record=NEW)
        await new_target.publish(published, forced=False, before_write=lambda: None, timeout_s=30.0)

    bench.consul.before_write = successor_writes
    try:
        with pytest.raises(ServerError, match="stale"):
            await bench.publish(OLD)
    finally:
        await new_target.close()
    assert bench.pairs() | {"/ipv4": "", "/ipv6": ""} == {
        "": "db2.example.com:3307", "/hostname": "db2.example.com", "/port": "3307", "/ipv4": "", "/ipv6": "",
    }  # fmt: skip


async def test_nothing_is_written_without_authority(bench: Bench) -> None:
    def deposed() -> None:
        raise AuthorityLost("gone")

    with pytest.raises(AuthorityLost):
        await bench.target.publish(Published(record=OLD), forced=False, before_write=deposed, timeout_s=30.0)
    assert bench.consul.transactions == 0


async def test_a_refused_token_names_the_key_to_look_at(bench: Bench) -> None:
    bench.consul.token = "another token"
    with pytest.raises(ServerError, match="ConsulAclToken"):
        await bench.publish(OLD)


async def test_a_consul_that_fails_or_is_away_is_an_error_of_its_own(bench: Bench) -> None:
    bench.consul.down = True
    with pytest.raises(ServerError, match="No cluster leader"):
        await bench.publish(OLD)
    nobody = ConsulTarget(ConsulSettings(address="127.0.0.1:1"))
    with pytest.raises(Unavailable, match="ConsulAddress"):
        await nobody.publish(Published(record=OLD), forced=False, before_write=lambda: None, timeout_s=30.0)
    await nobody.close()


async def test_one_that_never_answers_is_given_up_in_time(bench: Bench) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    bench.consul.before_write = never
    published = Published(record=OLD)
    with pytest.raises(Unavailable, match="within"):
        await bench.target.publish(published, forced=False, before_write=lambda: None, timeout_s=0.3)


async def test_every_data_center_is_written_also_if_one_is_away(bench: Bench) -> None:
    bench.consul.centers = {"dc1": {}, "dc2": {}, "dc3": {}}
    bench.consul.unreachable_centers = {"dc2"}
    target = ConsulTarget(replace(bench.settings, every_data_center=True))
    published = Published(record=OLD)
    try:
        with pytest.raises(ServerError, match="data centre dc2"):
            await target.publish(published, forced=False, before_write=lambda: None, timeout_s=30.0)
        found = [bench.consul.value("mysql/master/shop", center) for center in ("dc1", "dc2", "dc3")]
        assert ["db1.example.com:3306", None, "db1.example.com:3306"] == found
        bench.consul.unreachable_centers = set()
        assert await target.publish(published, forced=False, before_write=lambda: None, timeout_s=30.0)
        assert bench.consul.transactions == 3
    finally:
        await target.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"{}", b"[null, 1, []]", b"\xff\xfe", b"[" * 100_000, b'[{"Key": 1, "Value": 2}]',
        b'[{"Key": "mysql/master/shop/record", "Value": "bm8=", "ModifyIndex": "x"}]',
        b'[{"Key": "mysql/master/shop/record", "Value": "eyJnZW5lcmF0aW9uIjogIngifQ==", "ModifyIndex": 1.5}]',
    ],
)  # fmt: skip
@pytest.mark.parametrize("every", [False, True])
async def test_whatever_it_answers_is_an_error_or_nothing(bench: Bench, body: bytes, every: bool) -> None:
    bench.consul.instead = body
    target = ConsulTarget(replace(bench.settings, every_data_center=every))
    try:
        with suppress(OrchestratorError):
            await target.publish(Published(record=OLD), forced=False, before_write=lambda: None, timeout_s=30.0)
    finally:
        await target.close()


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_writes_when_the_generation_never_goes_back(bench: Bench, seed: int) -> None:
    """Leaders of several terms at once, each stopped between reading and writing for as long as chance has it."""
    chance = Random(seed)
    history: list[int] = []

    async def some_turns() -> None:
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)

    def note() -> None:
        text = bench.consul.value("mysql/master/shop/record")
        history.append(json.loads(text)["generation"] if text else 0)

    async def leader(generation: int) -> None:
        record = replace(OLD, generation=generation, primary=InstanceKey(f"db{generation}.example.com", 3306))
        target = ConsulTarget(bench.settings)
        try:
            for _ in range(8):
                await some_turns()
                with suppress(Refused, ServerError):
                    await target.publish(Published(record=record), forced=False, before_write=note, timeout_s=30.0)
                note()
        finally:
            await target.close()

    bench.consul.before_write = some_turns
    generations = [1, 2, 3, 4]
    chance.shuffle(generations)
    await asyncio.gather(*(leader(generation) for generation in generations))
    assert history == sorted(history)
    assert bench.pairs()["/hostname"] == "db4.example.com"
