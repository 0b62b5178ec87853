"""The web page's files and addresses: what is served where, under which policy, and how little of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from api.exchange import Answer, Ask
from api.page import FOLDER, WebPage
from api.settings import ApiSettings, AuthenticationMethod
from tests.rest.rig import Rig

BUDGET_BYTES = 60_000
PAGE = WebPage(ApiSettings())


def asked(path: str, page: WebPage = PAGE, *, if_none_match: str = "") -> Answer | None:
    return page.answer(Ask(method="GET", path=path, headers={"if-none-match": (if_none_match,)}))


def header(answer: Answer, name: str) -> str:
    return dict(answer.headers)[name]


@pytest.mark.parametrize("path", ["/web/", "/web", "/web/clusters", "/web/cluster/shop", "/web/cluster/alias/shop",
                                  "/web/cluster/instance/db1/3306", "/web/audit-recovery/cluster/db1:3306/2",
                                  "/web/audit/instance/db1/3306", "/web/status", "/web/recovery/ab12"])  # fmt: skip
def test_the_peers_addresses_and_ours_show_the_page(path: str) -> None:
    answer = asked(path)
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "text/html; charset=utf-8")
    assert b'<base href="/web/">' in answer.body


@pytest.mark.parametrize("path", ["/web/nonesuch", "/web/files/nonesuch.js", "/web/files/../page.py", "/webb", "/x",
                                  "/web/files/", "/web/files"])  # fmt: skip
def test_any_other_address_is_not_the_pages(path: str) -> None:
    assert asked(path) is None


def test_the_policy_lets_nothing_in_from_elsewhere_and_makes_no_markup_of_texts() -> None:
    answer = asked("/web/clusters")
    assert answer is not None
    policy = header(answer, "Content-Security-Policy")
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    for path in FOLDER.glob("*.js"):
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "://"):
            assert word not in text.replace("http://www.w3.org/2000/svg", ""), (path.name, word)
    assert b"style=" not in answer.body
    assert b"onclick" not in answer.body


def test_all_of_it_is_small() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert len(files) > 8
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < BUDGET_BYTES


def test_texts_of_the_configuration_are_no_markup() -> None:
    page = WebPage(ApiSettings(url_prefix="/orc", web_message='"><script>x</script>'))
    answer = asked("/orc/web/clusters", page)
    assert answer is not None
    assert b'<base href="/orc/web/">' in answer.body
    assert b"<script>x" not in answer.body
    assert b"&quot;&gt;&lt;script&gt;" in answer.body
    moved = asked("/orc/", page)
    assert moved is not None
    assert (moved.status, header(moved, "Location")) == (302, "/orc/web/clusters")
    assert asked("/web/clusters", page) is None


def test_what_a_browser_has_is_not_sent_again() -> None:
    first = asked("/web/files/app.js")
    assert first is not None
    again = asked("/web/files/app.js", if_none_match=header(first, "ETag"))
    assert again is not None
    assert (again.status, again.body) == (304, b"")


def test_files_of_the_package_are_those_of_the_folder() -> None:
    """setuptools takes what pyproject.toml names."""
    assert 'api = ["web/*"]' in (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert all(path.is_file() for path in FOLDER.iterdir())


async def test_a_browser_gets_it_from_every_node_and_logs_in_like_anybody() -> None:
    settings = ApiSettings(authentication=AuthenticationMethod.BASIC, user="ann", password="secret")
    async with Rig(2, settings=settings) as rig:
        for node in rig.nodes.values():
            assert (await node.get("/web/clusters")).status == 401
    async with Rig(2) as rig:
        for node in rig.nodes.values():
            got = await node.get("/web/clusters")
            assert (got.status, got.headers["X-Node-ID"]) == (200, node.view.node_id)
            assert (await node.get("/web/nonesuch")).status == 404
            assert (await node.ask("POST", "/web/clusters")).status == 404
