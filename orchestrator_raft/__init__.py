"""orchestrator_raft: a high-availability manager for MySQL and MariaDB replication.

Start reading at ``docs/design.md``; the composition root is ``orchestrator_raft.app``.
"""

__version__ = "0.1.0.dev0"
