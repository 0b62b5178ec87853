"""``ports.Target`` for Consul: orchestrator's keys of a primary, and our record, written in one transaction.

Theory. orchestrator writes five keys, one after the other, so a reader may see the new host with the old port, and a
deposed leader may write after its successor. Here a transaction writes all of them together with ``<alias>/record``, a
JSON object that holds the whole and its generation; and it is carried out only if that record is still the one that
was read just before (check-and-set). A record with a greater generation is left alone. Keys that orchestrator itself
wrote have no record and are taken over.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from orchestrator_raft.core.errors import OrchestratorError, Refused, ServerError, Unavailable
from orchestrator_raft.core.replicated.publications import Published

ANSWER_BYTES_MAX = 4 * 1024 * 1024
SAID_CHARACTERS_MAX = 300
RECORD = "record"
FORCE = "raftctl publish --force --cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSettings:
    """What the configuration says about Consul."""

    address: str
    """host:port, or a whole URL as http://consul:8500."""
    scheme: str = "http"
    token: str = field(default="", repr=False)
    every_data_center: bool = False
    prefix: str = "mysql/master/"


@dataclass(frozen=True, slots=True)
class _Found:
    """What a data centre has under one alias: values by key, and the index of our record for check-and-set."""

    values: Mapping[str, str]
    record: Mapping[str, Any]
    record_index: int


class ConsulTarget:
    """One Consul, or every data centre that it knows."""

    def __init__(self, settings: ConsulSettings) -> None:
        self._settings = settings
        self._root = URL(settings.address if "://" in settings.address else f"{settings.scheme}://{settings.address}")
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<ConsulTarget {self.name}>"

    @property
    def name(self) -> str:
        return f"consul {self._root.host}:{self._root.port}"

    def takes(self, alias: str) -> bool:
        return True

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def publish(
        self, published: Published, *, forced: bool, before_write: Callable[[], None], timeout_s: float
    ) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                centers = await self._data_centers()
                work = [self._publish_in(center, published, forced, before_write) for center in centers]
                outcomes = await asyncio.gather(*work, return_exceptions=True)
        except TimeoutError as error:
            raise Unavailable(f"{self.name} did not answer within {timeout_s:g} s") from error
        return _joined(outcomes)

    async def _data_centers(self) -> Sequence[str]:
        """Names of data centres; an empty one stands for the one of the agent that is asked."""
        if not self._settings.every_data_center:
            return ("",)
        status, names = await self._ask("GET", "/v1/catalog/datacenters", {})
        if status != 200 or not isinstance(names, list) or not names:
            raise ServerError(f"{self.name}: it names no data centres: {_said(status, names)}")
        return [str(name) for name in names]

    async def _publish_in(
        self, center: str, published: Published, forced: bool, before_write: Callable[[], None]
    ) -> bool:
        found = await self._read(center, published.record.alias)
        wanted = {pair.key: pair.value for pair in published.pairs(self._settings.prefix)}
        record = record_of(published)
        if not forced:
            refuse_older(f"{self._place(center)}", found.record, record)
        if found.record == record and all(found.values.get(key) == value for key, value in wanted.items()):
            return False
        before_write()
        await self._write(center, wanted, record, found.record_index)
        return True

    def _place(self, center: str) -> str:
        return f"{self.name} (data centre {center})" if center else self.name

    async def _read(self, center: str, alias: str) -> _Found:
        key = f"{self._settings.prefix}{alias}"
        asked = {"recurse": "true", "consistent": "true", **_in(center)}
        status, answer = await self._ask("GET", f"/v1/kv/{quote(key, safe='/')}", asked)
        if status == 404:
            return _Found({}, {}, 0)
        if status != 200 or not isinstance(answer, list):
            raise ServerError(f"{self._place(center)}: {key} cannot be read: {_said(status, answer)}")
        entries = {str(each.get("Key")): each for each in answer if isinstance(each, dict)}
        values = {name: _text(each.get("Value")) for name, each in entries.items()}
        index = entries.get(f"{key}/{RECORD}", {}).get("ModifyIndex", 0)
        if not isinstance(index, int):
            raise ServerError(f"{self._place(center)}: {key} has no ModifyIndex: {_said(status, answer)}")
        return _Found(values, _object(values.get(f"{key}/{RECORD}", "")), index)

    async def _write(self, center: str, wanted: Mapping[str, str], record: Mapping[str, Any], index: int) -> None:
        """All or nothing. Raises ServerError where somebody else has written our record since it was read."""
        key = f"{self._settings.prefix}{record['alias']}/{RECORD}"
        own = {"Verb": "cas", "Key": key, "Value": _encoded(orjson.dumps(record).decode()), "Index": index}
        others = [{"Verb": "set", "Key": name, "Value": _encoded(value)} for name, value in wanted.items()]
        operations = [{"KV": each} for each in (own, *others)]
        status, answer = await self._ask("PUT", "/v1/txn", _in(center), operations)
        if status != 200:
            raise ServerError(f"{self._place(center)}: {key} was not written: {_said(status, answer)}")

    async def _ask(self, method: str, path: str, asked: Mapping[str, str], body: object = None) -> tuple[int, Any]:
        """Status and JSON of one answer; a text where it is no JSON. Raises Unavailable."""
        if self._session is None:
            headers = {"X-Consul-Token": self._settings.token} if self._settings.token else {}
            self._session = aiohttp.ClientSession(headers=headers)
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked.items())
        url = URL(f"{str(self._root).rstrip('/')}{path}?{query}", encoded=True)
        try:
            async with self._session.request(method, url, json=body, allow_redirects=False) as response:
                content = await response.content.read(ANSWER_BYTES_MAX)
                while not response.content.at_eof() and len(content) < ANSWER_BYTES_MAX:
                    content += await response.content.read(ANSWER_BYTES_MAX - len(content))
                return response.status, _json(content)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self.name} does not answer: {error} (see ConsulAddress)") from error


def record_of(published: Published) -> dict[str, Any]:
    """The whole as one JSON object."""
    record = published.record
    return {
        "alias": record.alias,
        "cluster": record.cluster_id,
        "hostname": record.primary.hostname,
        "port": record.primary.port,
        "ipv4": published.ipv4,
        "ipv6": published.ipv6,
        "generation": record.generation,
    }


def refuse_older(place: str, there: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raises Refused where the target has a newer record, or another one of the same generation."""
    generation = there.get("generation")
    if not isinstance(generation, int) or generation < ours["generation"]:
        return
    names = ("cluster", "hostname", "port")
    if generation == ours["generation"] and all(there.get(name) == ours[name] for name in names):
        return
    server = f"{there.get('hostname')}:{there.get('port')}"
    raise Refused(
        f"{place} has {server} as primary of {ours['alias']}, generation {generation}, and ours is generation "
        f"{ours['generation']}: another manager publishes there, or this one was set up anew. If ours is right: "
        f"{FORCE} {ours['alias']}"
    )


def _joined(outcomes: Sequence[bool | BaseException]) -> bool:
    """Whether any data centre was written. Raises what went wrong; all of it in one text where that was several."""
    failures = [each for each in outcomes if isinstance(each, BaseException)]
    for failure in failures:
        if not isinstance(failure, OrchestratorError):
            raise failure
    if len(outcomes) == 1 and failures:
        raise failures[0]
    if failures:  # of several data centres some may have been written
        raise ServerError("; ".join(str(failure) for failure in failures))
    return any(outcomes)


def _in(center: str) -> dict[str, str]:
    return {"dc": center} if center else {}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(value: object) -> str:
    try:
        return base64.b64decode(str(value or "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _said(status: int, answer: object) -> str:
    hint = " (see ConsulAclToken)" if status in (401, 403) else ""
    return f"status {status}{hint}: {str(answer)[:SAID_CHARACTERS_MAX]}"
