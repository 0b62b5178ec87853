"""The composition root: the only place that names concrete adapters, and the only importer of ``api``."""

from orchestrator_raft.app.run import run

__all__ = ["run"]
