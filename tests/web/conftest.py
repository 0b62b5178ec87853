"""A real Chromium, and pages in it that must not complain: an error in the console fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from sandbox import chromium

PATIENCE_MS = 60_000
NOT_OURS = "Failed to load resource"
"""The browser says so of any answer that is an error, and of a node that is gone; the page shows it by itself."""
NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: as long as it is open, an event loop runs in this thread, and no asynchronous test can."""
    with sync_playwright() as playwright:
        program = str(chromium.find_or_install())
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """``new_page(url, **options of the browser context)``; what the page complained about is an error at the end."""
    complaints: list[str] = []
    contexts = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(NOT_OURS):
            complaints.append(message.text)

    def refuse(dialog: Dialog) -> None:
        complaints.append(f"a script ran: {dialog.message}")
        dialog.dismiss()

    def make(url: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", refuse)
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []
