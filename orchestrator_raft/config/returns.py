"""Keys about servers that come back and are kept out, because only they have some transactions."""

from __future__ import annotations

from orchestrator_raft.config.keys import key
from orchestrator_raft.config.service import Group


class Returns(Group):
    """New in orchestrator_raft: servers that are kept out"""

    save_lost_transactions: bool = key(
        "SaveLostTransactions",
        True,
        "Save the transactions that only a quarantined server has as SQL, from its binary logs, on the leading node.",
    )
    lost_transactions_directory: str = key(
        "LostTransactionsDirectory",
        "",
        "Directory for these files; empty takes lost-transactions in RaftDataDir.",
        expands=True,
    )
    lost_transactions_max_megabytes: int = key(
        "LostTransactionsMaxMegabytes",
        1024,
        "Megabytes that one such file may have; a larger one is not kept.",
        least=1,
    )
    post_quarantine_processes: tuple[str, ...] = key(
        "PostQuarantineProcesses",
        (),
        "Commands after a server that came back was quarantined, such as one that has it rebuilt from a backup.",
        hidden=True,
    )
    rebuild_quarantined_replicas: bool = key(
        "RebuildQuarantinedReplicas",
        False,
        "Replace the data of a quarantined MySQL server by a copy of a replica's (CLONE plugin), once its transactions "
        "are saved; in clusters of RecoverMasterClusterFilters.",
    )
    mysql_binlog_program: str = key(
        "MySQLBinlogProgram",
        "mysqlbinlog",
        "MySQL's program that reads binary logs; MariaDB's of that name will not do.",
    )
    mariadb_binlog_program: str = key(
        "MariaDBBinlogProgram", "mariadb-binlog", "MariaDB's program that reads binary logs."
    )
