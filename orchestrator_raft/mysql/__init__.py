"""Adapter to database servers: connections, probes and acting sessions. The only importer of aiomysql and pymysql.

``Connector`` opens connections by the rules of ``MysqlSettings``; ``MysqlProber`` and ``MysqlSessions`` are the ports
``Prober`` and ``Sessions`` on top of it.
"""

from __future__ import annotations

from orchestrator_raft.mysql.connector import Connector
from orchestrator_raft.mysql.prober import MysqlProber
from orchestrator_raft.mysql.proxysql import ProxySqlTarget
from orchestrator_raft.mysql.salvager import BinlogSalvager, SalvageSettings
from orchestrator_raft.mysql.sessions import MysqlSessions, SqlFailure
from orchestrator_raft.mysql.settings import MysqlSettings, TlsMode
from orchestrator_raft.mysql.writer import MysqlWriter

__all__ = [
    "BinlogSalvager",
    "Connector",
    "MysqlProber",
    "MysqlSessions",
    "MysqlSettings",
    "MysqlWriter",
    "ProxySqlTarget",
    "SalvageSettings",
    "SqlFailure",
    "TlsMode",
]
