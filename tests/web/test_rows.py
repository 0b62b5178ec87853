"""What the page offers exists: each operation that it names is one of the product's, with the parameters it sends."""

from __future__ import annotations

import re
from pathlib import Path

from api.page import FOLDER
from orchestrator_raft.core.replicated import events
from orchestrator_raft.operations import OPERATIONS

NATIVE = {each.native: each for each in OPERATIONS if each.native}
ACT, LIVE = (FOLDER / "act.js").read_text(), (FOLDER / "live.js").read_text()


def test_every_operation_on_a_server_is_served_with_its_parameters() -> None:
    rows = re.findall(r'operation: "([a-z-]+)"(, target: true)?', ACT)
    assert len(rows) > 15
    for name, target in rows:
        operation = NATIVE[f"POST /servers/{{server}}/{name}"]
        assert bool(target) == any(each.name == "target" for each in operation.parameters), name


def test_every_marks_path_is_served() -> None:
    paths = re.findall(r'change\("(POST|DELETE)", at\([^,]+, "(/[a-z-]*)"', ACT)
    assert len(paths) > 6
    for method, path in paths:
        assert any(native.startswith(f"{method} /servers/{{server}}{path}") for native in NATIVE), (method, path)


def test_the_page_listens_to_every_event() -> None:
    text = Path(events.__file__).read_text()
    fixed = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text))
    assert len(fixed) > 12
    told = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', LIVE))
    marks = {each for each in fixed if f"{each}-begun" in told}
    assert fixed - marks - told == set()
