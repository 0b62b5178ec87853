"""``python -m orchestrator_raft.raftctl``."""

from orchestrator_raft.raftctl.main import main

main()
