"""What a page has to be for everybody: no serious fault by axe-core's rules, and no wider than a phone."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
CONTRAST = "color-contrast"
PHONE = {"width": 360, "height": 740}


@cache
def axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


def faults(page: Page, *rules: str) -> list[tuple[str, str, list[str]]]:
    """Serious faults of what is shown, by all rules or by these; the page's context has to bypass the policy."""
    options: dict[str, Any] = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    page.evaluate(axe())
    found = page.evaluate("options => axe.run(options)", {**options, "resultTypes": ["violations"]})
    return [
        (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


def is_too_wide(page: Page) -> bool:
    """Whether a reader would have to push the page sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
