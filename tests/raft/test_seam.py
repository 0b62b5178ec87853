"""PySyncObj behaves as we rely on, and any other is refused by its version and by what it does."""

from __future__ import annotations

import pickle

import pytest
from pysyncobj import syncobj

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import seam
from orchestrator_raft.raft.selftest import CHECKS, self_test


def test_the_installed_library_passes_every_check() -> None:
    self_test()
    assert 8 <= len(CHECKS)


@pytest.mark.parametrize("version", ["0.3.16", "0.4.0", "1.0"])
def test_another_version_is_refused_by_number(version: str) -> None:
    with pytest.raises(StartupError, match=f"PySyncObj {version} cannot be used"):
        self_test(version)


def test_a_library_that_behaves_otherwise_is_refused_with_what_it_does() -> None:
    def appends_are_cut() -> bool:
        return False

    def votes_count() -> bool:
        raise AttributeError("no such name")

    with pytest.raises(StartupError, match="'appends are cut' does not hold"):
        self_test(checks=(appends_are_cut,))
    with pytest.raises(StartupError, match="'votes count' ended in AttributeError"):
        self_test(checks=(votes_count,))


def test_no_pickle_is_loaded_whatever_the_entry_says() -> None:
    self_test()
    assert syncobj.pickle is seam._Codec
    with pytest.raises(ValueError, match="none of ours"):
        syncobj.pickle.loads(pickle.dumps(print))
    assert ["add", "10.0.0.1:1"] == syncobj.pickle.loads(syncobj.pickle.dumps(["add", "10.0.0.1:1", object()]))
    with pytest.raises(TypeError):
        syncobj.pickle.dumps({"anything": "else"})
