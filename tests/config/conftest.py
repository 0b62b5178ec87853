"""Ways to read a configuration in a test: from values, from text, or from several files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft.config import Loaded, load
from orchestrator_raft.core.errors import StartupError

GOOD = {"MySQLTopologyUser": "orc", "RecoverMasterClusterFilters": ["*"]}
"""The least that gives neither a warning nor a note."""

Load = Callable[..., Loaded]
Problems = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Load a file with this content."""

    def run(text: str | bytes, environ: Mapping[str, str] | None = None) -> Loaded:
        path = tmp_path / "orchestrator.conf.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load([path], environ or {})

    return run


@pytest.fixture
def load_values(load_text: Load) -> Load:
    """Load a good file with these values added."""

    def run(
        values: Mapping[str, Any] | None = None, /, environ: Mapping[str, str] | None = None, **more: Any
    ) -> Loaded:
        return load_text(json.dumps({**GOOD, **(values or {}), **more}), environ)

    return run


@pytest.fixture
def problems(load_text: Load) -> Problems:
    """The lines of the error that a file with these values, or with this text, gives; without the file's path."""

    def run(content: Mapping[str, Any] | str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        text = content if isinstance(content, str | bytes) else json.dumps({**GOOD, **content})
        with pytest.raises(StartupError) as caught:
            load_text(text, environ)
        return [line.partition("orchestrator.conf.json: ")[2] or line for line in str(caught.value).split("\n")]

    return run
