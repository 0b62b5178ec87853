"""How two nodes prove to each other that they belong to one cluster, before either reads a message of the other.

The exchange, in fixed layouts, a few hundred bytes at most:
1. the accepting node sends: magic, the newest protocol it speaks, a nonce, the path of its secret file (empty off
   loopback);
2. the dialling node sends: magic, the protocol that both will speak (the newest that both know), its nonce, and the
   proof that it knows the secret;
3. the accepting node checks it and answers with its own proof; the dialling node checks that.
A proof is an HMAC over both nonces, both protocols (so nobody in between can lower them), the path, the direction and
the slot that was dialled, so it fits no other connection: who listens in place of a node cannot pass the exchange on to
another one. Under TLS both certificates have been verified already; then the key is empty and the exchange only agrees
on the protocol.

After that both sides send ``Hello`` as an ordinary frame, and ``judge`` decides whether the other is a member.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.levels import Levels
from orchestrator_raft.raft.messages import Hello
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.secret import SECRET_FILE

MAGIC = b"ORAF"
OLDEST_PROTOCOL = PROTOCOL = 1
"""What this version speaks: from the oldest, for nodes that are not upgraded yet, to the newest."""
PATH_BYTES_MAX = 1024
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_GREETING = struct.Struct(f">4sB{_NONCE_BYTES}sH")
_REPLY = struct.Struct(f">4sB{_NONCE_BYTES}s{_PROOF_BYTES}s")
KeyFor = Callable[[str], bytes]
"""The key to prove with, given the path that the accepting node names."""


async def accept(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slot: str, key: bytes, path: str,
    newest: int = PROTOCOL,
) -> int:  # fmt: skip
    """The accepting side, which is ``slot``. Gives the protocol. Raises ProtocolError or the stream's errors."""
    nonce, named = secrets.token_bytes(_NONCE_BYTES), path.encode()[: PATH_BYTES_MAX + 1]
    if len(named) > PATH_BYTES_MAX:
        named = b""
    writer.write(_GREETING.pack(MAGIC, newest, nonce, len(named)) + named)
    magic, protocol, their_nonce, proof = _REPLY.unpack(await reader.readexactly(_REPLY.size))
    _check_protocol(magic, protocol, newest)
    transcript = bytes([newest, protocol]) + nonce + their_nonce + named + b"/" + slot.encode()
    if not hmac.compare_digest(proof, _proof(key, b"dial", transcript)):
        raise ProtocolError("it does not know the secret of this cluster")
    writer.write(_proof(key, b"accept", transcript))
    return int(protocol)


async def dial(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slot: str, key_for: KeyFor, newest: int = PROTOCOL
) -> int:
    """The dialling side, which expects ``slot`` there. Gives the protocol. Raises as ``accept`` does."""
    magic, theirs, their_nonce, length = _GREETING.unpack(await reader.readexactly(_GREETING.size))
    protocol = min(theirs, newest)
    _check_protocol(magic, protocol, newest)
    if length > PATH_BYTES_MAX:
        raise ProtocolError("its greeting is no greeting")
    named = await reader.readexactly(length)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    key = key_for(named.decode(errors="replace"))
    transcript = bytes([theirs, protocol]) + their_nonce + nonce + named + b"/" + slot.encode()
    writer.write(_REPLY.pack(MAGIC, protocol, nonce, _proof(key, b"dial", transcript)))
    try:
        proof = await reader.readexactly(_PROOF_BYTES)
    except (EOFError, ConnectionError) as error:
        raise ProtocolError(
            f"it refuses what this node proved: the secrets differ ({SECRET_FILE} in each RaftDataDir has to be the "
            "same on all machines), or it is not the node that was meant; its log says which"
        ) from error
    if not hmac.compare_digest(proof, _proof(key, b"accept", transcript)):
        raise ProtocolError("it does not know the secret of this cluster")
    return int(protocol)


def _proof(key: bytes, direction: bytes, transcript: bytes) -> bytes:
    return hmac.new(key, b"orchestrator_raft/" + direction + b"/" + transcript, hashlib.sha256).digest()


def _check_protocol(magic: bytes, protocol: int, newest: int) -> None:
    if magic != MAGIC:
        raise ProtocolError("it is no node of this product")
    if not OLDEST_PROTOCOL <= protocol <= newest:
        raise ProtocolError(
            f"it speaks version {protocol} of the protocol, this node speaks {OLDEST_PROTOCOL} to {newest}: upgrade "
            "the older"
        )


def judge(me: Roster, expected_slot: str | None, hello: Hello) -> None:
    """Raises ProtocolError with the reason, for people, if the node that says ``hello`` is no peer."""
    if hello.slot == me.slot and hello.cluster_id in ("", me.cluster_id):
        raise ProtocolError(
            f"two processes run as {me.slot}, or its address leads back to itself; check RaftNodes and RaftAdvertise"
        )
    if complaint := me.complaint(hello):
        raise ProtocolError(complaint)
    if expected_slot is not None and hello.slot != expected_slot:
        raise ProtocolError(
            f"the address of {expected_slot} leads to {hello.slot}; check RaftNodes and name resolution"
        )


def judge_levels(levels: Levels, level: int, hello: Hello) -> None:
    """Raises ProtocolError if one of the two versions does not know the level at which the other's cluster is."""
    if not hello.oldest_level <= level <= hello.newest_level:
        raise ProtocolError(
            f"{hello.slot} runs version {hello.version}, which knows levels {hello.oldest_level} to "
            f"{hello.newest_level}, and the cluster is at level {level}: install there the version that the others run"
        )
    try:
        levels.check(hello.level)
    except InvalidInput as error:
        raise ProtocolError(f"{hello.slot} cannot be joined: {error}") from error
