"""The configuration of one node: ``orchestrator.conf.json`` as it is, checked, explained (design D9).

Read by app and cli only; everything below gets plain values. ``load`` takes a file through its steps: ``document``
(JSON), ``registry`` (names), ``checks`` (old names, rules between keys), ``environment``, ``model`` (limits and forms).
``service``, ``servers`` and ``repair`` declare the keys, ``other_keys`` those without effect, ``explain`` makes the
texts for people. A new key is one field in one of the three; nothing else.
"""

from orchestrator_raft.config.explain import Report, check, explain, schema
from orchestrator_raft.config.findings import Findings
from orchestrator_raft.config.load import SEARCH_PATHS, Loaded, load
from orchestrator_raft.config.model import Settings
from orchestrator_raft.config.values import Address

__all__ = ["SEARCH_PATHS", "Address", "Findings", "Loaded", "Report", "Settings", "check", "explain", "load", "schema"]
