"""Audit of the compatible API."""

from __future__ import annotations

from orchestrator_raft.core.replicated.state import AuditEntry

from .go import Json, key_json, timestamp


def audit_json(entry: AuditEntry) -> Json:
    return {
        "AuditId": entry.number,
        "AuditTimestamp": timestamp(entry.at_ms),
        "AuditType": entry.type,
        "AuditInstanceKey": key_json(entry.key),
        "Message": entry.message,
    }
