"""Any bytes from the network or a snapshot: a value, or the declared error; no code, no memory beyond their size."""

from __future__ import annotations

import dis
import importlib
import pickle
import pkgutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import orchestrator_raft.raft
from orchestrator_raft.raft.packed import shown, unpacked
from tests.fuzz.edits import KINDS, TOKENS, Edit, edited
from tests.fuzz.targets import TARGETS, bombs, sealed
from tests.fuzz.watch import watching

IN_MEMORY = sorted(name for name in TARGETS if name != "store")
UNPACKING = ("messages", "commands", "state", "snapshot", "members", "changes")
BYTES_PER_BYTE_MAX = 120
"""What one byte of input may cost while it is read: an empty map costs 64 and a pointer."""
FIXED_BYTES = 2_000_000

edits = st.lists(
    st.builds(
        Edit,
        st.sampled_from(sorted(KINDS)),
        st.integers(0, 1 << 16),
        st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", IN_MEMORY)
@given(data=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    assert TARGETS[name].run(data)


@pytest.mark.parametrize("name", IN_MEMORY)
@given(number=st.integers(0, 1000), edits=edits)
@settings(max_examples=150, deadline=None)
def test_a_real_input_that_was_changed_is_read_or_refused(name: str, number: int, edits: list[Edit]) -> None:
    seeds = TARGETS[name].seeds()
    assert TARGETS[name].run(edited(seeds[number % len(seeds)], edits))


@pytest.mark.parametrize("name", IN_MEMORY)
def test_real_inputs_are_read(name: str) -> None:
    outcomes = {TARGETS[name].run(seed) for seed in TARGETS[name].seeds()}
    is_read = not any(outcome.startswith("refused") for outcome in outcomes)
    assert is_read is (name not in ("accept", "dial")), "nobody can guess the proof of a handshake"


@pytest.mark.parametrize("bomb", bombs())
@pytest.mark.parametrize("name", UNPACKING)
def test_what_is_announced_costs_nothing_until_it_is_there(name: str, bomb: str) -> None:
    target, data = TARGETS[name], bombs()[bomb]
    wrapped = [data, msgpack.packb([7])[:1] + b"\x07" + data, b"\x83\xa1v\x01\xa1t\xa5state\xa1b" + data]
    for whole in wrapped:
        tracemalloc.start()
        try:
            outcome = target.run(b"\0" + whole if name == "snapshot" else whole)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert outcome.startswith("refused")
        assert peak < BYTES_PER_BYTE_MAX * len(whole) + FIXED_BYTES


def test_a_snapshot_that_unpacks_to_more_than_is_allowed_is_refused_before_it_is_unpacked() -> None:
    bomb = sealed(bytes(64 << 20))
    tracemalloc.start()
    try:
        outcome = TARGETS["snapshot"].run(b"\1" + bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than" in outcome
    assert peak < 8 << 20


@pytest.mark.parametrize("depth", [10, 300, 900, 1000, 1100, 100_000])
@pytest.mark.parametrize("name", UNPACKING)
def test_nesting_of_any_depth_in_a_field_is_refused(name: str, depth: int) -> None:
    deep = b"\x91" * depth + b"\x90"
    ack = b"\x95\x04\x01\x02\x03" + deep
    command = b"\x83\xa1v\x01\xa1t\xacForgetServers\xa1b".replace(b"\xac", b"\xad") + deep
    nested_key = b"\x83\xa1v\x01\xa1t\xadForgetServers\xa1b\x83\xa2id\xa11\xa5at_ms" + deep + b"\xa4keys\x90"
    first, last = b"\x93" + deep + b"\x90\x01", b"\x93\x01\x91\x96" + deep + b"\xa0\xa0\xc3\xa0\xc2\x01"
    for data in (ack, command, nested_key, first, last):
        assert TARGETS[name].run(data).startswith("refused")


def test_a_message_about_a_wrong_value_stays_short() -> None:
    for value in ("x" * 10**6, b"x" * 10**6, ["x" * 10**6], {"a": 1}, 2**60, None, 0.5):
        assert len(shown(value)) <= 40
    for data in (msgpack.packb({"v": "y" * 10**6, "t": "z" * 10**6, "b": 0}), msgpack.packb([4, "x" * 10**6, 1, 1, 1])):
        for name in UNPACKING:
            assert len(TARGETS[name].run(data)) < 1000


def test_an_unknown_field_whose_name_is_no_text_is_refused() -> None:
    body = {"id": "1", "at_ms": 0, "keys": [], 5: 0, b"x": 0, "more": 0, None: 0}
    outcome = TARGETS["commands"].run(msgpack.packb({"v": 1, "t": "ForgetServers", "b": body}))
    assert "unknown fields: 'more', 5, None, b'x'" in outcome


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xc1", b"\xa1\xff", b"\x81\x90\0", b"\xd4\x05\x00"])
def test_bytes_that_are_not_one_value_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpacked(data, arrays=list, maps=True)


# no code is executed


class Spark:
    """A pickle of it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def test_a_pickle_is_no_message_and_no_command() -> None:
    with watching() as seen:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for target in TARGETS.values():
                data = pickle.dumps(Spark(), protocol)
                target.run(data)
                target.run(b"\1" + data)
    assert [] == [event for event in seen if not event.startswith("import")]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_reading_runs_nothing_of_what_is_read(name: str) -> None:
    target, seeds = TARGETS[name], TARGETS[name].seeds()
    for seed in seeds:
        target.run(seed)  # so that everything that is imported late has been
    with watching() as seen:
        for seed in seeds:
            target.run(seed)
            target.run(edited(seed, [Edit("flip", 9, b"\1"), Edit("insert", 20, TOKENS[-1])]))
    assert [] == seen


def test_the_watch_itself_sees_a_pickle_that_runs_code() -> None:
    with watching() as seen:
        pickle.loads(pickle.dumps(Spark()))
        compile("1", "a file", "eval")
    assert any("pickle.find_class" in event for event in seen)
    assert any(event.startswith("compile") for event in seen)


BUILTINS = {"eval", "exec", "compile", "__import__"}
MODULES = {
    "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml", "ctypes", "subprocess", "runpy", "importlib",
    "pty",
}  # fmt: skip
METHODS = {"system", "popen", "execv", "fork", "enable_load_extension", "load_extension", "Unpickler", "find_class"}


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


def dangers(code: CodeType) -> Iterator[str]:
    for part in code_objects(code):
        yield from ({name.split(".")[0] for name in part.co_names} & (MODULES | METHODS))
        for instruction in dis.get_instructions(part):
            if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL") and instruction.argval in BUILTINS:
                yield instruction.argval


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(orchestrator_raft.raft.__path__)])
def test_no_module_of_the_package_can_execute_what_it_reads(name: str) -> None:
    module = importlib.import_module(f"orchestrator_raft.raft.{name}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    code = compile(source, module.__file__, "exec")
    assert [] == list(dangers(code))
    is_named = any("pickle" in part.co_names for part in code_objects(code))
    assert not is_named or name == "seam", "the seam replaces the library's pickle, nobody else names it"


def test_the_search_for_dangers_finds_them() -> None:
    code = compile("import marshal\nre.compile('x')\ndef f(): return eval('1') + os.system('x')", "a file", "exec")
    assert {"marshal", "eval", "system"} == set(dangers(code))


def test_the_library_has_our_codec_where_it_says_pickle() -> None:
    import pysyncobj.syncobj as library_module

    from orchestrator_raft.raft import seam

    seam._install()
    assert library_module.pickle is seam._Codec
