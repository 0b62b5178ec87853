"""A configuration file for a node of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

QUIET = {"MySQLTopologyUser": "orchestrator", "RecoverMasterClusterFilters": ["*"]}
"""Without these a configuration is remarked upon."""


@pytest.fixture
def write_config(tmp_path: Path) -> Any:
    def write(**keys: Any) -> str:
        path = tmp_path / "orchestrator.conf.json"
        path.write_text(json.dumps({**QUIET, **keys}))
        return str(path)

    return write
