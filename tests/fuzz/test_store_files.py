"""Any bytes where the store should be, and real stores that were changed: read as they were written, or refused."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.raft.sqlite_store import SQLITE_HEADER
from orchestrator_raft.raft.store import Image
from tests.fuzz import samples
from tests.fuzz.edits import edited
from tests.fuzz.targets import load_file
from tests.fuzz.test_decoders import edits

NEW, KILLED, CLOSED = range(3)
TABLES = {
    "facts": ("name", "value", "checksum"),
    "vote": ("one", "term", "vote", "checksum"),
    "hint": ("one", "commit_index", "checksum"),
    "journal": ("idx", "term", "data", "checksum"),
    "snapshot": ("idx", "data"),
}
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=99), st.none(),
    st.just("\ud800").map(lambda text: text.encode(errors="surrogatepass")),
)  # fmt: skip


@contextmanager
def laid_out(database: bytes, log: bytes = b"") -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=samples.fast_directory()) as directory:
        path = Path(directory) / "raft.sqlite"
        path.write_bytes(database)
        if log:
            path.with_name("raft.sqlite-wal").write_bytes(log)
        yield path


def written() -> Image:
    image = Image()
    for operation in samples.operations():
        image.apply(operation)
    return image


def loaded(database: bytes, log: bytes = b"") -> str | Image:
    with laid_out(database, log) as path:
        return load_file(path)


def test_what_was_written_is_read_after_a_clean_end_and_after_a_kill() -> None:
    assert Image() == loaded(*samples.stores()[NEW])
    assert written() == loaded(*samples.stores()[KILLED])
    assert written() == loaded(*samples.stores()[CLOSED])


@given(st.binary(max_size=2000), st.binary(max_size=200), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_refused(data: bytes, log: bytes, with_header: bool) -> None:
    assert str(loaded(SQLITE_HEADER + data if with_header else data, log)).startswith("refused")


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=3))
@settings(max_examples=250, deadline=None)
def test_flipped_bits_are_refused_or_change_nothing(flips: list[tuple[int, int]]) -> None:
    database = bytearray(samples.stores()[CLOSED][0])
    used = [place for place, byte in enumerate(database) if byte]
    for place, bits in flips:
        database[used[place % len(used)]] ^= bits
    outcome = loaded(bytes(database))
    if isinstance(outcome, Image):
        assert without_snapshots(written()) == without_snapshots(outcome), "a damaged snapshot is passed over"


def without_snapshots(image: Image) -> Image:
    return Image(image.term, image.vote, image.commit_index, image.entries, [], image.facts)


@given(edits)
@settings(max_examples=150, deadline=None)
def test_a_database_cut_and_scribbled_on_is_refused_or_read(changes: list[Any]) -> None:
    outcome = loaded(edited(samples.stores()[CLOSED][0], changes))
    assert isinstance(outcome, Image) or outcome.startswith("refused")


@given(edits)
@settings(max_examples=150, deadline=None)
def test_a_damaged_log_loses_whole_transactions_or_nothing(changes: list[Any]) -> None:
    database, log = samples.stores()[KILLED]
    outcome = loaded(database, edited(log, changes))
    assert outcome in (Image(), written()) or str(outcome).startswith("refused")


@given(table=st.sampled_from(sorted(TABLES)), column=st.integers(0, 3), row=st.integers(0, 20), value=values)
@settings(max_examples=250, deadline=None)
def test_a_changed_value_is_refused_or_changes_nothing(table: str, column: int, row: int, value: Any) -> None:
    name = TABLES[table][column % len(TABLES[table])]
    with laid_out(samples.stores()[CLOSED][0]) as path:
        connection = sqlite3.connect(path)
        try:
            with connection:
                wanted = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {row}"
                connection.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ({wanted})", (value,))
        except sqlite3.IntegrityError:
            return  # SQLite itself does not take it
        finally:
            connection.close()
        outcome = load_file(path)
    if isinstance(outcome, Image):
        assert without_snapshots(written()) == without_snapshots(outcome)


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("change", ["DELETE FROM {}", "INSERT INTO {} SELECT * FROM {}", "DROP TABLE {}"])
def test_rows_that_are_missing_never_end_in_anything_but_a_refusal(table: str, change: str) -> None:
    with laid_out(samples.stores()[CLOSED][0]) as path:
        connection = sqlite3.connect(path)
        try:
            with connection:
                connection.execute(change.format(table, table))
        except sqlite3.IntegrityError:
            return
        finally:
            connection.close()
        outcome = load_file(path)
    assert isinstance(outcome, Image) is (table == "facts" and change.startswith("DELETE"))


ENDLESS = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x idx, x term, x data, x checksum FROM n"
)


@pytest.mark.parametrize(
    "statements",
    [
        f"DROP TABLE journal; CREATE VIEW journal AS {ENDLESS}",
        "CREATE TRIGGER t AFTER UPDATE ON hint BEGIN DELETE FROM journal; END",
        "CREATE INDEX i ON journal (term)",
        "CREATE TABLE more (x)",
        "DROP TABLE snapshot",
        "ALTER TABLE facts ADD COLUMN more TEXT GENERATED ALWAYS AS (name || value) VIRTUAL",
    ],
)
def test_a_file_with_more_or_other_tables_is_refused_and_nothing_in_it_is_run(statements: str) -> None:
    with laid_out(samples.stores()[CLOSED][0]) as path:
        connection = sqlite3.connect(path)
        connection.executescript(statements)
        connection.close()
        outcome = load_file(path)
    assert "its tables are not those of a store" in str(outcome)


@pytest.mark.parametrize("text", ["\ud800", "é"])
def test_a_text_that_is_no_text_is_damage_and_not_a_matter_of_rights(text: str) -> None:
    broken = text.encode(errors="surrogatepass") if text == "\ud800" else b"\xe9"
    with laid_out(samples.stores()[CLOSED][0]) as path:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE facts SET value = CAST(? AS TEXT) WHERE name = 'slot'", (broken,))
        connection.close()
        outcome = load_file(path)
    assert "damaged" in str(outcome) and "rights" not in str(outcome)


def test_a_file_that_may_not_be_read_is_a_matter_of_rights(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    path.mkdir()
    opened = samples.open_store(path)
    with pytest.raises(Exception, match="check its rights") as caught:
        opened.load()
    assert type(caught.value).__name__ == "StartupError"
