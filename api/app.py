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
from urllib.parse import unquote

from aiohttp import hdrs, web

from .exchange import TEXT, THREAD_FROM_BYTES, Answer, Ask
from .front import Front

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
SERVER = "orchestrator-raft"
GZIP_FROM_BYTES = 256
BODY_TIMEOUT_S = 10.0
FRONT = web.AppKey("front", Front)


def create_app(front: Front) -> web.Application:
    """The application of one node."""
    app = web.Application(client_max_size=front.settings.body_bytes_max)
    app[FRONT] = front
    app.on_cleanup.append(_close_front)
    app.router.add_route(hdrs.METH_ANY, r"/{path:[\s\S]*}", _handle)
    return app


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
    answer = await request.app[FRONT].answer(_ask(request, body, request_id))
    return await _response(request, answer, request_id)


def _plain(status: int, text: str) -> Answer:
    return Answer(status=status, body=f"{text}\n".encode(), content_type=TEXT)


def _request_id(request: web.Request) -> str:
    """The caller's id if it is a sane one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


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
    )


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
