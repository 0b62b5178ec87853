"""The aiohttp application: a thin skin that decodes requests, hands them to the ``Front`` and encodes answers.

Routing is the front's, since paths have to be decoded before they are matched; so there is one handler for all paths.
A client that goes away does not stop what it asked for: aiohttp's handler cancellation stays off.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import secrets
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

import structlog
from aiohttp import hdrs, web

from .events import Stream
from .exchange import TEXT, THREAD_FROM_BYTES, Answer, Ask, Certificate
from .front import Front

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
SERVER = "orchestrator-raft"
GZIP_FROM_BYTES = 256
BODY_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
FRONT = web.AppKey("front", Front)


def create_app(front: Front) -> web.Application:
    """The application of one node."""
    app = web.Application(client_max_size=front.settings.body_bytes_max)
    app[FRONT] = front
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_close_front)
    app.router.add_route(hdrs.METH_ANY, r"/{path:[\s\S]*}", _handle)
    return app


async def _end_streams(app: web.Application) -> None:
    await app[FRONT].end_streams()


async def _close_front(app: web.Application) -> None:
    await app[FRONT].close()


async def _handle(request: web.Request) -> web.StreamResponse:
    request_id = _request_id(request)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return await _response(request, _plain(413, "request body too large"), request_id)
    except TimeoutError:
        return await _response(request, _plain(408, "request body did not arrive in time"), request_id)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        answer = await request.app[FRONT].answer(_ask(request, body, request_id))
    if isinstance(answer, Stream):
        return await _streamed(request, answer, request_id)
    return await _response(request, answer, request_id)


async def _streamed(request: web.Request, stream: Stream, request_id: str) -> web.StreamResponse:
    """Write until the stream ends, or the client has taken nothing for too long."""
    response = web.StreamResponse()
    for name, value in (*stream.headers, ("X-Request-ID", request_id), (hdrs.SERVER, SERVER)):
        response.headers[name] = value
    response.content_type = stream.content_type
    async with aclosing(stream.pieces) as pieces:
        try:
            await response.prepare(request)
            async for piece in pieces:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await response.write(piece)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            stream.on_end()
    return response


def _plain(status: int, text: str) -> Answer:
    return Answer(status=status, body=f"{text}\n".encode(), content_type=TEXT)


def _request_id(request: web.Request) -> str:
    """The caller's id if it is a sane one, else a new one."""
    return _given_id(request) or secrets.token_hex(12)


def _given_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if REQUEST_ID.fullmatch(given) else ""


def _certificate(request: web.Request) -> Certificate | None:
    """What is in the client's certificate, which TLS has verified against the authority."""
    found: dict[str, Any] | None = request.get_extra_info("peercert")
    if not found:
        return None
    parts = [(name, value) for each in found.get("subject", ()) for name, value in each]
    units = tuple(value for name, value in parts if name == "organizationalUnitName")
    return Certificate(next((value for name, value in parts if name == "commonName"), ""), units)


def _ask(request: web.Request, body: bytes, request_id: str) -> Ask:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers.items():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    return Ask(
        method=request.method,
        path=_text(unquote(request.rel_url.raw_path, errors="replace")),
        query=tuple((_text(name), _text(value)) for name, value in request.query.items()),
        headers=headers,
        body=body,
        request_id=request_id,
        repeatable=bool(_given_id(request)),
        remote=_remote(request),
        over_tls=request.get_extra_info("sslcontext") is not None,
        certificate=_certificate(request),
    )


def _remote(request: web.Request) -> str:
    """The address of whoever connected; empty for a unix socket."""
    peer = request.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _text(raw: str) -> str:
    """Without the marks of bytes that are no UTF-8."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _response(request: web.Request, answer: Answer, request_id: str) -> web.Response:
    body, is_gzipped = await _coded(answer, accepts="gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower())
    response = web.Response(status=answer.status, body=body)
    for name, value in answer.headers:
        response.headers[name] = value
    response.headers[hdrs.CONTENT_TYPE] = answer.content_type
    response.headers[hdrs.SERVER] = SERVER
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    response.headers["X-Request-ID"] = request_id
    if is_gzipped:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    return response


async def _coded(answer: Answer, *, accepts: bool) -> tuple[bytes, bool]:
    """The body as this client takes it, and whether it is compressed."""
    body = answer.body
    if answer.is_gzipped:
        return (body, True) if accepts else (await _beside(gzip.decompress, body), False)
    if accepts and len(body) >= GZIP_FROM_BYTES:
        return await _beside(pack, body), True
    return body, False


def pack(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)


async def _beside(work: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Long work on bytes goes to a thread, so that it does not keep the node from its heartbeats."""
    return work(body) if len(body) < THREAD_FROM_BYTES else await asyncio.to_thread(work, body)
