"""GTID algebra against a deliberately plain model: Python sets with one element per transaction.

The generated texts are unsorted and overlap, repeat UUIDs and tags in several spellings and carry white space wherever
a server allows it. The model is built beside the text, never by reading it; results are read back by ``expanded``,
which knows canonical text only and shares no code with the parsers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_raft.core import gtid
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid import DomainServer, GtidSet, Source

core = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

Member = tuple[str, str, int] | tuple[int, int, int]
UUIDS = (
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3e11fa47-71ca-11e1-9e33-c80aa9429563",
    "00000000-0000-4000-8000-00000000000f",
)
BLANKS = ("", "", "", " ", "\n", "\t ")


@dataclass(frozen=True)
class Written:
    """A text and the transactions it says."""

    family: str
    text: str
    members: frozenset[Member]

    @property
    def parsed(self) -> GtidSet:
        return gtid.parse(self.family, self.text)


Item = tuple[str, int, int, str]
"""Tag, first number, how many more, blank."""


def mysql_written(groups: list[tuple[str, bool, list[Item]]]) -> Written:
    texts: list[str] = []
    members: set[Member] = set()
    for uuid, upper, items in groups:
        text = uuid.upper() if upper else uuid
        tag = ""
        for new_tag, first, more, blank in items:
            if new_tag:
                tag = new_tag
                text += f"{blank}:{blank}{tag.upper() if upper else tag}"
            text += f":{blank}{first}" + (f"{blank}-{first + more}{blank}" if more else "")
            members.update((uuid, tag, number) for number in range(first, first + more + 1))
        texts.append(text)
    return Written("mysql", ",\n".join(texts), frozenset(members))


def mariadb_written(entries: list[tuple[int, int, int, int, str]]) -> Written:
    """Entries: domain, server, first number (0: the server's own form, from 1), how many more, blank."""
    texts: list[str] = []
    members: set[Member] = set()
    for domain_id, server_id, first, more, blank in entries:
        last = first + more
        span = f"{first}..{last}" if first else f"{last}"
        texts.append(f"{blank}{domain_id}-{server_id}-{span}{blank}")
        members.update((domain_id, server_id, number) for number in range(max(first, 1), last + 1))
    return Written("mariadb", ",".join(texts), frozenset(members))


numbers = st.integers(1, 20)
more_numbers = st.integers(0, 6)
blanks = st.sampled_from(BLANKS)
items = st.tuples(st.sampled_from(("", "", "a", "b_2")), numbers, more_numbers, blanks)
groups = st.tuples(st.sampled_from(UUIDS), st.booleans(), st.lists(items, min_size=1, max_size=4))
mysql_texts = st.lists(groups, max_size=4).map(mysql_written)
entries = st.tuples(st.integers(0, 1), st.integers(1, 2), st.integers(0, 12), more_numbers, blanks)
mariadb_texts = st.lists(entries, max_size=5).map(mariadb_written)
one = st.one_of(mysql_texts, mariadb_texts)
two = st.one_of(st.tuples(mysql_texts, mysql_texts), st.tuples(mariadb_texts, mariadb_texts))
three = st.one_of(
    st.tuples(mysql_texts, mysql_texts, mysql_texts), st.tuples(mariadb_texts, mariadb_texts, mariadb_texts)
)


def expanded(transactions: GtidSet) -> frozenset[Member]:
    """The canonical text of a set, as one element per transaction."""
    text = str(transactions)
    parts = text.split(",") if text else []
    expand = expanded_group if transactions.family == "mysql" else expanded_entry
    return frozenset(member for part in parts for member in expand(part))


def expanded_group(group: str) -> list[Member]:
    uuid, *rest = group.split(":")
    tag, members = "", list[Member]()
    for item in rest:
        if item[0].isdigit():
            first, _, last = item.partition("-")
            members += [(uuid, tag, number) for number in range(int(first), int(last or first) + 1)]
        else:
            tag = item
    return members


def expanded_entry(entry: str) -> list[Member]:
    domain_id, server_id, span = entry.split("-")
    first, _, last = span.rpartition("..")
    return [(int(domain_id), int(server_id), number) for number in range(int(first or 1), int(last) + 1)]


def source(member: Member) -> Source:
    return member[0] if isinstance(member[0], str) else DomainServer(member[0], int(member[1]))


@core
@given(one)
def test_the_text_of_a_set_says_what_was_written_and_parses_to_an_equal_set(written: Written) -> None:
    parsed = written.parsed
    again = gtid.parse(parsed.family, str(parsed))
    assert written.members == expanded(parsed)
    assert (parsed, hash(parsed), str(parsed)) == (again, hash(again), str(again))
    assert len(written.members) == parsed.count()
    assert (not written.members, bool(written.members)) == (parsed.is_empty, bool(parsed))
    assert {source(member) for member in written.members} == parsed.sources()


@core
@given(two)
def test_the_algebra_does_what_python_sets_do(pair: tuple[Written, Written]) -> None:
    (left, right), (a, b) = pair, (pair[0].parsed, pair[1].parsed)
    assert left.members | right.members == expanded(a.union(b))
    assert left.members - right.members == expanded(a.minus(b))
    assert left.members & right.members == expanded(a.intersection(b))
    assert (left.members >= right.members) == a.covers(b)
    assert (left.members == right.members) == (a == b)
    assert len(left.members - right.members) == a.minus(b).count()


@core
@given(three)
def test_the_laws_of_sets_hold_as_equal_values(written: tuple[Written, Written, Written]) -> None:
    a, b, c = (each.parsed for each in written)
    assert (a.union(b), a.intersection(b)) == (b.union(a), b.intersection(a))
    assert a.union(b).union(c) == a.union(b.union(c))
    assert a.minus(b.union(c)) == a.minus(b).minus(c) == a.minus(b).intersection(a.minus(c))
    assert a.intersection(b.union(c)) == a.intersection(b).union(a.intersection(c))
    assert a == a.minus(b).union(a.intersection(b)) == a.union(a) == a.union(a.minus(a))
    assert a.covers(b) == b.minus(a).is_empty == (a.union(b) == a)
    assert all((a.union(b).covers(a), a.covers(a.minus(c)), a.covers(a.minus(a))))


@core
@given(two)
def test_what_follows_a_set_is_new_of_each_key(pair: tuple[Written, Written]) -> None:
    (left, right), following = pair, pair[0].parsed.following(pair[1].parsed)
    ends: dict[object, int] = {}
    for member in right.members:
        ends[member[:2]] = max(member[2], ends.get(member[:2], 0))
    late = {member[:2] for member in left.members if member[2] <= ends.get(member[:2], 0)}
    assert frozenset(member for member in left.members if member[:2] not in late) == expanded(following)


@core
@given(two, st.booleans())
def test_sources_split_a_set_in_two(pair: tuple[Written, Written], upper: bool) -> None:
    parsed = pair[0].parsed
    named = {source(member) for member in pair[1].members}
    asked = {name.upper() if upper and isinstance(name, str) else name for name in named}
    kept = frozenset(member for member in pair[0].members if source(member) in named)
    assert kept == expanded(parsed.only_from(asked))
    assert pair[0].members - kept == expanded(parsed.without_sources(asked))


@core
@given(one, st.integers(0, 80), st.sampled_from(tuple("0159afzAZ_-:., \n\x00{é ſ²")), st.booleans())
def test_a_damaged_text_is_read_or_refused_with_a_short_message(
    written: Written, place: int, letter: str, insert: bool
) -> None:
    damaged = written.text[:place] + letter + written.text[place + (not insert) :]
    try:
        parsed = gtid.parse(written.family, damaged)
    except InvalidInput as refusal:
        assert len(str(refusal)) < 400
        assert "\n" not in str(refusal)
    else:
        assert parsed == gtid.parse(written.family, str(parsed))


@core
@given(one.filter(lambda written: bool(written.members)), st.integers(0, 250))
def test_a_description_counts_everything_and_names_as_many_ranges_as_fit(written: Written, limit: int) -> None:
    ranges = ranges_of(written.parsed)
    described = written.parsed.describe(limit)
    amount, names = described.split(": ")
    named, _, more = names.partition(" and ")
    shown = ranges_of(gtid.parse(written.family, named))
    assert written.parsed.count() == int(amount.removeprefix("at most ").split()[0])
    assert ranges[: len(shown)] == shown
    assert more.split()[:1] == ([str(len(ranges) - len(shown))] if len(ranges) > len(shown) else [])
    assert len(described) <= limit or len(shown) == 1


def ranges_of(transactions: GtidSet) -> list[tuple[object, tuple[int, int]]]:
    return [(key, interval) for key, intervals in transactions.lines for interval in intervals]


@pytest.mark.parametrize("operation", ["union", "minus", "intersection", "covers"])
def test_the_families_never_mix(operation: str) -> None:
    mysql, mariadb = gtid.parse_mysql(f"{UUIDS[0]}:1-5"), gtid.parse_mariadb("0-1-5")
    for left, right in ((mysql, mariadb), (mariadb, mysql), (gtid.EMPTY_MYSQL, gtid.EMPTY_MARIADB)):
        with pytest.raises(ValueError, match="cannot be compared"):
            getattr(left, operation)(right)
    assert len({gtid.EMPTY_MYSQL, gtid.EMPTY_MARIADB}) == 2
