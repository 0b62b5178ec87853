"""``python -m orchestrator_raft`` is ``orchestrator-raft``."""

from orchestrator_raft.cli import main

if __name__ == "__main__":
    main()
