"""The web page: its files, and which address shows it.

The page is one document for every address below ``/web/``; scripts in it read the address and the native API, as any
client does. Nothing is built and nothing comes from elsewhere.

- All files are read once, at start, and are small; a browser asks again each time and is told that nothing changed.
- The policy lets a browser run our own files only, and lets none of them turn a text into markup (Trusted Types), so
  whatever a server or a person is called stays text.
- Only the addresses that the page knows show it; the first word decides. Others are 404 as everywhere.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator
from pathlib import Path

from .exchange import TEXT, Answer, Ask
from .settings import ApiSettings

FOLDER = Path(__file__).parent / "web"
ROOT, FILES, DOCUMENT = "web", "files", "index.html"
FIRST_VIEW = "clusters"
VIEWS = frozenset(
    {"", "home", "clusters", "clusters-analysis", "cluster", "search", "discover", "status", "raft", "audit",
     "audit-recovery", "audit-recovery-steps", "audit-failure-detection", "recovery", "blocked", "downtime", "about",
     "keep-calm", "faq"}
)  # fmt: skip
"""First words below ``/web/``, the peers' own among them."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)


class WebPage:
    """The page of one node."""

    def __init__(self, settings: ApiSettings, folder: Path = FOLDER) -> None:
        self._prefix = tuple(word for word in settings.url_prefix.split("/") if word)
        self._home = f"{settings.url_prefix}/{ROOT}/"
        values = {"home": self._home, "message": settings.web_message, "hidden": settings.hidden_in_host_names}
        self._files = dict(_read(folder, values))

    def answer(self, ask: Ask) -> Answer | None:
        """The page, one of its files, or the way to it; None for an address that is not the page's."""
        words = tuple(ask.path.strip("/").split("/")) if ask.path.strip("/") else ()
        if words[: len(self._prefix)] != self._prefix or ask.method not in ("GET", "HEAD"):
            return None
        words = words[len(self._prefix) :]
        if not words:
            return _moved(f"{self._home}{FIRST_VIEW}")
        if words[0] != ROOT:
            return None
        if words[1:2] == (FILES,):
            return self._file("/".join(words[2:]), ask)
        view = words[1] if len(words) > 1 else ""
        return self._file(DOCUMENT, ask) if view in VIEWS else None

    def _file(self, name: str, ask: Ask) -> Answer | None:
        found = self._files.get(name)
        if found is None:
            return None
        tag = dict(found.headers)["ETag"]
        if tag in ask.header("if-none-match"):
            return Answer(status=304, body=b"", content_type=found.content_type, headers=found.headers)
        return found


def _read(folder: Path, values: dict[str, str]) -> Iterator[tuple[str, Answer]]:
    for path in sorted(folder.iterdir()):
        content_type = TYPES.get(path.suffix)
        if content_type is None:
            continue
        body = path.read_bytes()
        if path.name == DOCUMENT:
            for name, value in values.items():
                body = body.replace(f"{{{{{name}}}}}".encode(), html.escape(value).encode())
        headers = (*HEADERS, ("ETag", f'"{hashlib.sha256(body).hexdigest()[:24]}"'))
        yield path.name, Answer(status=200, body=body, content_type=content_type, headers=headers)


def _moved(where: str) -> Answer:
    return Answer(status=302, body=b"", content_type=TEXT, headers=(("Location", where), ("Cache-Control", "no-store")))
