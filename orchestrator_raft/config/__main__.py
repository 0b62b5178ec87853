"""``python -m orchestrator_raft.config DIRECTORY`` renews the generated documents of the configuration there."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator_raft.config.explain import write_documents

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestrator_raft.config DIRECTORY (the one with configuration.md)")
    write_documents(Path(sys.argv[1]))
