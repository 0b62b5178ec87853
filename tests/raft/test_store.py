"""The SQLite store holds what the operations mean, and refuses everything that is not its own whole file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.journal import Journal
from orchestrator_raft.raft.membership import founded
from orchestrator_raft.raft.settings import Limits
from orchestrator_raft.raft.sqlite_store import SqliteStore
from orchestrator_raft.raft.store import (
    AddEntry,
    ClearEntries,
    CutEntries,
    Image,
    Loaded,
    MemoryStore,
    Operation,
    SaveSnapshot,
    SetCommit,
    SetFact,
    SetTerm,
    Snapshot,
    choose,
    decode_snapshot,
)

LIMIT = 1_000_000


def sqlite_store(path: Path, failures: list[BaseException] | None = None) -> SqliteStore:
    """Without a loop: what the writing thread tells is called there."""

    def notify(call: Callable[[], None]) -> None:
        call()

    kept = failures if failures is not None else []
    return SqliteStore(path, notify=notify, on_synced=lambda: None, on_failure=kept.append)


def snapshot_of(index: int) -> bytes:
    previous, last = (b"p", index - 1, 1), (b"l", index, 1)
    return Snapshot(
        previous=previous, last=last, members_index=0, members=founded("a"), digest=b"d", state=b"state %d" % index
    ).encode()


@st.composite
def groups(draw: st.DrawFn) -> list[list[Operation]]:
    """Operations as a journal gives them: entries follow each other, snapshots stand at entries that exist."""
    first, last = 1, 0
    made: list[list[Operation]] = []
    for _ in range(draw(st.integers(1, 12))):
        group: list[Operation] = []
        for _ in range(draw(st.integers(1, 4))):
            match draw(st.sampled_from(["add", "add", "add", "cut", "clear", "term", "commit", "fact", "snapshot"])):
                case "cut" if last > first:
                    last = draw(st.integers(first, last - 1))
                    group.append(CutEntries(last + 1))
                case "clear":
                    first = last = draw(st.integers(1, 50))
                    group += [ClearEntries(), AddEntry((b"fresh", last, 1))]
                case "term":
                    group.append(SetTerm(draw(st.integers(0, 2**40)), draw(st.none() | st.sampled_from("abc"))))
                case "commit":
                    group.append(SetCommit(draw(st.integers(0, 99))))
                case "fact":
                    group.append(SetFact(draw(st.sampled_from("xy")), draw(st.text(max_size=3))))
                case "snapshot" if last > first:
                    index = draw(st.integers(first + 1, last))
                    group.append(SaveSnapshot(index, lambda index=index: snapshot_of(index)))  # type: ignore[misc]
                case _:
                    last += 1
                    group.append(AddEntry((draw(st.binary(min_size=1, max_size=9)), last, draw(st.integers(0, 5)))))
        made.append(group)
    return made


@settings(max_examples=60, deadline=None)
@given(groups())
def test_what_is_loaded_is_what_the_operations_mean(operations: list[list[Operation]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "raft.sqlite"
        store, model = sqlite_store(path), Image()
        assert model == store.load()
        for mark, group in enumerate(operations, 1):
            store.write(group, mark)
            for operation in group:
                model.apply(operation)
        store.close()
        assert len(operations) == store.synced_mark
        again = sqlite_store(path)
        loaded = again.load()
        again.close()
        assert model == loaded


def filled(path: Path, entries: int = 5) -> None:
    store = sqlite_store(path)
    store.load()
    store.write([SetTerm(1, "a"), *(AddEntry((b"x%d" % index, index, 1)) for index in range(1, entries + 1))], 1)
    store.close()


def refusal(path: Path) -> str:
    store = sqlite_store(path)
    with pytest.raises(StartupError) as caught:
        image = store.load()
        choose(image, store.where, LIMIT)
    store.close()
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_an_empty_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    path.touch()
    assert "it is empty" in refusal(path)
    assert 0 == path.stat().st_size


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 20, b"x"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "raft.sqlite"
    path.write_bytes(content)
    assert "damaged" in refusal(path)
    assert content == path.read_bytes()


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert "another program" in refusal(path)
    assert before == path.read_bytes()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    assert "format 2" in refusal(path)


def test_a_changed_entry_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE journal SET data = x'79' WHERE idx = 3")
    connection.close()
    assert "checksum of entry 3" in refusal(path)


def test_a_missing_entry_is_found(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM journal WHERE idx = 3")
    connection.close()
    assert "entry 4 of term 1 follows entry 2" in refusal(path)


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 20_000), flips=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 255)), max_size=3))
def test_a_torn_or_scribbled_file_is_refused_or_read_right(cut: int, flips: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "raft.sqlite"
        filled(path, entries=40)
        data = bytearray(path.read_bytes()[:cut] if not flips else path.read_bytes())
        for position, bits in flips:
            data[position % len(data)] ^= bits
        path.write_bytes(bytes(data))
        store = sqlite_store(path)
        try:
            image = store.load()
            choose(image, store.where, LIMIT)
        except StartupError as error:
            assert str(path) in str(error)
        else:
            assert [(b"x%d" % index, index, 1) for index in range(1, 41)] == image.entries
        finally:
            store.close()


def test_a_write_ahead_log_whose_file_was_moved_away_is_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "raft.sqlite"
    store = sqlite_store(path)
    store.load()
    store.write([AddEntry((b"x", 1, 0))], 1)
    while store.synced_mark < 1:
        pass
    stale = (tmp_path / "raft.sqlite-wal").read_bytes()
    store.close()
    path.unlink()
    (tmp_path / "raft.sqlite-wal").write_bytes(stale)
    fresh = sqlite_store(path)
    assert Image() == fresh.load()
    fresh.close()


def test_a_failed_write_is_told_once_and_nothing_counts_as_synced(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    store = sqlite_store(tmp_path / "raft.sqlite", failures)
    store.load()
    entry = AddEntry((b"x", 1, 0))
    store.write([entry], 1)
    store.write([entry], 2)
    store.write([SetTerm(2, None)], 3)
    store.close()
    assert 1 == len(failures) and isinstance(failures[0], sqlite3.IntegrityError)
    assert store.synced_mark < 2


def image_with_snapshots(*indices: int, last: int) -> Image:
    image = Image(term=1, commit_index=last)
    for index in range(1, last + 1):
        image.entries.append((b"l" if index in indices else b"p", index, 1))
    for index in indices:
        image.apply(SaveSnapshot(index, lambda index=index: snapshot_of(index)))  # type: ignore[misc]
    return image


def test_the_newest_snapshot_is_chosen_and_older_entries_are_kept_for_others() -> None:
    loaded = choose(image_with_snapshots(4, 8, last=10), "here", LIMIT)
    assert loaded.snapshot is not None and 8 == loaded.snapshot.index
    assert [7, 8, 9, 10] == [entry[1] for entry in loaded.entries]
    assert [3, 4, 5, 6] == [entry[1] for entry in loaded.retained]


def test_an_unreadable_snapshot_costs_a_longer_start_not_the_data() -> None:
    image = image_with_snapshots(4, 8, last=10)
    image.snapshots[1] = (8, image.snapshots[1][1][:-1] + b"?")
    loaded = choose(image, "here", LIMIT)
    assert loaded.snapshot is not None and 4 == loaded.snapshot.index
    assert list(range(3, 11)) == [entry[1] for entry in loaded.entries]
    assert ("snapshot 8: its checksum is wrong",) == loaded.unreadable


def test_without_any_readable_snapshot_the_node_does_not_start() -> None:
    image = image_with_snapshots(4, last=10)
    image.snapshots[0] = (4, b"")
    with pytest.raises(StartupError, match="no snapshot of this format"):
        choose(image, "here", LIMIT)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_a_snapshot_or_refused(data: bytes, cut: int) -> None:
    for candidate in (data, snapshot_of(5)[:cut], snapshot_of(5)[:cut] + data):
        with pytest.raises(ValueError):
            decode_snapshot(candidate, LIMIT)
    with pytest.raises(ValueError, match="larger than"):
        decode_snapshot(snapshot_of(5), 3)


def journal() -> Journal:
    return Journal(Image(), Loaded(None, b"", [], [], ()), Limits(retained_entries=2))


def test_an_entry_counts_as_synced_only_with_its_mark() -> None:
    made = journal()
    for index in (1, 2, 3):
        made.add(b"x", index, 1)
    assert 0 == made.synced_index
    made.synced(2)
    assert 2 == made.synced_index
    made.deleteEntriesFrom(1)
    assert 1 == made.synced_index
    made.add(b"y", 2, 2)
    made.synced(4)
    assert 1 == made.synced_index
    made.synced(5)
    assert 2 == made.synced_index


def test_a_lone_commit_index_waits_for_company_or_a_second() -> None:
    made = journal()
    made.add(b"x", 1, 1)
    made.take()
    made.setRaftCommitIndex(9)
    assert [] == made.take()[0]
    made.setCurrentTerm(2, None)
    assert [SetTerm(2, None), SetCommit(9)] == made.take()[0]
    made.setRaftCommitIndex(10)
    made.onOneSecondTimer()
    assert [SetCommit(10)] == made.take()[0]


def test_trimmed_entries_can_still_be_sent_for_a_while() -> None:
    made = journal()
    for index in range(1, 7):
        made.add(b"x", index, index)
    made.deleteEntriesTo(4)
    assert (3, 5, 6) == (made.oldest_index, made.first_index, made.last_index)
    assert [3, 4, 5, 6] == [entry[1] for entry in made.batch(3, LIMIT)]
    assert 4 == made.term_at(4)


def test_the_memory_store_is_its_image() -> None:
    store = MemoryStore()
    store.write([AddEntry((b"x", 1, 0))], 7)
    assert (7, [(b"x", 1, 0)]) == (store.synced_mark, store.load().entries)
