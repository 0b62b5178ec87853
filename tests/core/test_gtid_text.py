"""GTID texts as real servers print them and as people mistype them, and what messages say about them.

The MySQL rows were tried on 9.7.4 with ``SELECT GTID_SUBTRACT(text, '')``, the MariaDB rows on 10.11.19 with
``SET GLOBAL gtid_binlog_state``; where we refuse more than the server does, the row says so.
"""

from __future__ import annotations

import pytest

from orchestrator_raft.core import gtid
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.gtid import DomainServer, parse_mariadb, parse_mysql

U = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
V = "11111111-1111-1111-1111-111111111111"
TAG_LONGEST = "a" * 32


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" \n", ""),
        (",,", ""),
        (f"{U}:1", f"{U}:1"),
        (f"{U}:1-30:mytag:1", f"{U}:1-30:mytag:1"),
        (f"{U}:1-5,\n{V}:2", f"{V}:2,{U}:1-5"),
        (f"{U}:1,,{V}:2,", f"{V}:2,{U}:1"),
        (f"{U.upper()}:MyTag:1-3", f"{U}:mytag:1-3"),
        (f"{U}:1,{V}:1,{U.upper()}:5", f"{V}:1,{U}:1:5"),
        (f"{U}:1-5:3-7:9:8", f"{U}:1-9"),
        (f"{U}:7:1-5", f"{U}:1-5:7"),
        (f"{U}:01-005", f"{U}:1-5"),
        (f"\t{U} : 1 - 5 : 7\r\n,\v{V}\f:2", f"{V}:2,{U}:1-5:7"),
        (f"{U}: mytag :1-3", f"{U}:mytag:1-3"),
        (f"{U}:b:1:a:1:5:b:2-3", f"{U}:a:1:5:b:1-3"),
        (f"{U}:T1:1:t1:2", f"{U}:t1:1-2"),
        (f"{U}:mytag:2,{U}:1:mytag:1", f"{U}:1:mytag:1-2"),
        (f"{V}:t:1,{U}:1", f"{V}:t:1,{U}:1"),
        (f"{U}:_:1:{TAG_LONGEST}:2", f"{U}:_:1:{TAG_LONGEST}:2"),
        (f"{U}:1-9223372036854775806", f"{U}:1-9223372036854775806"),
    ],
)
def test_mysql_text_is_printed_as_the_server_prints_it(text: str, canonical: str) -> None:
    assert canonical == str(parse_mysql(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("garbage", "'garbage' is no UUID"),
        ("0-1-42", "'0-1-42' is no UUID"),
        (f"{U[:-1]}:1", "is no UUID"),
        (f"{U[:-1]}g:1", "is no UUID"),
        (f"{U};1", "is no UUID"),
        (f"{U.replace('-', '')}:1", "is no UUID"),  # the server reads it, but nobody prints it
        (f"{U}:1-5 {V}:1", "is neither"),
        (f"{U}:", "'' is neither"),
        (f"{U}::1", "'' is neither"),
        (f"{U}:1:", "'' is neither"),
        (f"{U}:+1", "'+1' is neither"),
        (f"{U}:1 5", "'1 5' is neither"),
        (f"{U}:1-", "'1-' is neither"),
        (f"{U}:-5", "'-5' is neither"),
        (f"{U}:1--5", "'1--5' is neither"),
        (f"{U}:1-5-6", "'1-5-6' is neither"),
        (f"{U}:1.5", "'1.5' is neither"),
        (f"{U}:1..5", "'1..5' is neither"),
        (f"{U}:1tag:1", "'1tag' is neither"),
        (f"{U}:ta-g:1", "'ta-g' is neither"),
        (f"{U}:{TAG_LONGEST}a:1", "is neither"),
        (f"{U}:é:1", "'é' is neither"),
        (f"{U}:ſ:1", "'ſ' is neither"),
        (f"{U}:²", "'²' is neither"),
        (f"{U}:1\xa0", "is neither"),
        (f"{U}:1\x00", "is neither"),
        (f"{U}:" + "9" * 10_000, "is neither"),
        (f"{U}:0", "'0' must run upwards"),
        (f"{U}: 0-5 ", "'0-5' must run upwards"),
        (f"{U}:9223372036854775807", "must run upwards between 1 and 9223372036854775806"),
        (f"{U}:1-9223372036854775807", "must run upwards"),
        # The server reads these five as an empty set.
        (f"{U}:5-1", "'5-1' must run upwards"),
        (f"{U}:5 \n- 1", "'5 - 1' must run upwards"),
        (U, f"no transaction number follows '{U}'"),
        (f"{U}:1:mytag", "no transaction number follows 'mytag'"),
        (f"{U}:a:b:1", "no transaction number follows 'a'"),
    ],
)
def test_malformed_mysql_text_is_refused_and_the_fault_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_mysql(text)
    assert reason in str(refusal.value)
    assert str(refusal.value).startswith(f"'{text[:20].splitlines()[0]}")
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" ", ""),
        ("0-25000-3,0-25001-4", "0-25000-3,0-25001-4"),
        ("0-2-9,0-1-5", "0-1-5,0-2-9"),
        ("1-1-3,0-2-9", "0-2-9,1-1-3"),
        ("10-1-3,9-2-9", "9-2-9,10-1-3"),
        ("0-1-5,0-1-7", "0-1-7"),
        ("0-1-5,\n 1-2-9 ", "0-1-5,1-2-9"),
        ("00-01-005", "0-1-5"),
        ("0-1-0,0-2-1", "0-2-1"),
        ("4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615"),
        ("0-1-101..103", "0-1-101..103"),
        ("0-1-101..101", "0-1-101..101"),
        ("0-1-1..3", "0-1-3"),
        ("0-1-101..103,0-1-5,0-1-6..8", "0-1-8,0-1-101..103"),
    ],
)
def test_mariadb_text_is_printed_in_the_form_of_the_server_or_as_ranges(text: str, canonical: str) -> None:
    assert canonical == str(parse_mariadb(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("garbage", "'garbage' is not domain-server-number"),
        (f"{U}:1-5", "is not domain-server-number"),
        ("0-1", "'0-1' is not domain-server-number"),
        ("0-1-5-6", "'0-1-5-6' is not"),
        ("0-1--5", "'0-1--5' is not"),
        ("-1-1-1", "'-1-1-1' is not"),
        ("0 - 1 - 5", "is not"),
        ("0-1-5,", "'' is not"),
        (",0-1-5", "'' is not"),
        ("0-1-5,,1-1-1", "'' is not"),
        ("0-1-+5", "'0-1-+5' is not"),  # the server reads it, but nobody prints it
        ("0-1-²", "'0-1-²' is not"),
        ("0-1-" + "9" * 10_000, "is not"),
        ("0-1-5..", "'0-1-5..' is not"),
        ("0-1-5...7", "'0-1-5...7' is not"),
        (" 4294967296-1-1 ", "in '4294967296-1-1' is greater than 4294967295"),
        ("0-4294967296-1", "greater than 4294967295"),
        ("0-1-18446744073709551616", "must run upwards and end at 18446744073709551615"),
        (" 0-1-7..5 ", "'0-1-7..5' must run upwards"),
        ("0-1-0..5", "must run upwards"),
    ],
)
def test_malformed_mariadb_text_is_refused_and_the_fault_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_mariadb(text)
    assert reason in str(refusal.value)
    assert str(refusal.value).startswith(f"'{text.strip()[:20]}")
    assert len(str(refusal.value)) < 400


def test_a_message_shows_the_beginning_and_the_end_of_a_long_text() -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_mysql(f"{U}:1,\n{V}:2,\n{U}:3,x")
    assert str(refusal.value) == (
        f"'{U}:1...{U[2:]}:3,x' is no MySQL GTID set: 'x' is no UUID (write UUID:1-5:7, several joined by commas)"
    )


def test_the_family_chooses_the_parser_and_an_unknown_one_is_refused() -> None:
    for parsed in (parse_mysql(f"{U}:1-5"), parse_mariadb("0-1-5"), gtid.EMPTY_MYSQL, gtid.EMPTY_MARIADB):
        assert parsed == gtid.parse(parsed.family, str(parsed))
    with pytest.raises(InvalidInput, match=r"'oracle' is no family of GTID sets: it is one of mysql, mariadb"):
        gtid.parse("oracle", "")


def test_large_sets_cost_no_more_than_their_intervals() -> None:
    odd = parse_mysql(f"{U}:" + ":".join(f"{start}-{start + 10**9}" for start in range(1, 5000 * 10**10, 10**10)))
    whole = parse_mysql(f"{U}:1-{10**18}")
    assert 5000 * (10**9 + 1) == odd.count()
    assert whole.covers(odd) and not odd.covers(whole)
    assert 10**18 - odd.count() == whole.minus(odd).count()
    assert whole == whole.minus(odd).union(odd)


def test_a_source_that_stands_still_is_the_same_object_in_every_set() -> None:
    still, length = f"{V}:1-5:7", 3000
    one, other = (parse_mysql(f"{U}:1-{last},\n{still}") for last in (10, 11))
    assert one.only_from({V}).held[0][1] is other.only_from({V}).held[0][1]
    assert one.union(other) == other and other.covers(one) and not one.minus(other)
    large = U + "".join(f":{2 * number}" for number in range(1, length))
    assert parse_mysql(large).count() == length - 1


def test_a_tag_has_numbers_of_its_own() -> None:
    assert not parse_mysql(f"{U}:1-30").covers(parse_mysql(f"{U}:1-30:mytag:1"))
    assert parse_mysql(f"{U}:mytag:1") == parse_mysql(f"{U}:1-30:mytag:1").minus(parse_mysql(f"{U}:1-30"))


def test_a_mariadb_failover_that_lost_transactions_is_seen_though_the_newest_numbers_are_equal() -> None:
    old_primary = parse_mariadb("0-1-103")
    successor = parse_mariadb("0-1-100,0-2-103")
    assert "0-1-101..103" == str(old_primary.minus(successor))
    assert not successor.covers(old_primary) and not old_primary.covers(successor)


def test_a_mariadb_replica_that_follows_two_primaries_in_turn_covers_both() -> None:
    replica = parse_mariadb("0-1-100").union(parse_mariadb("0-2-103"))
    assert replica.covers(parse_mariadb("0-1-100,0-2-101"))
    assert not replica.covers(parse_mariadb("0-1-100,0-2-101,0-3-102"))


def test_what_one_server_wrote_is_found_by_uuid_or_by_server_id_in_every_domain() -> None:
    mysql, mariadb = parse_mysql(f"{U}:1-5:mytag:1,{V}:1-9"), parse_mariadb("0-1-5,0-2-9,3-1-7")
    for transactions, rest in ((mysql, f"{V}:1-9"), (mariadb, "0-2-9")):
        its_own = transactions.sources_of_server(server_uuid=U.upper(), server_id=1)
        assert rest == str(transactions.without_sources(its_own))
        assert transactions == transactions.only_from(its_own).union(transactions.without_sources(its_own))
    assert frozenset() == mysql.sources_of_server(server_uuid="", server_id=1)
    assert frozenset({DomainServer(0, 2)}) == mariadb.sources_of_server(server_uuid=U, server_id=2)


def test_a_source_of_the_other_family_is_a_mistake_in_the_program() -> None:
    with pytest.raises(ValueError, match="no source of a MySQL GTID set"):
        parse_mysql(f"{U}:1").without_sources({DomainServer(0, 1)})
    with pytest.raises(ValueError, match="no source of a MariaDB GTID set"):
        parse_mariadb("0-1-5").only_from({U})


@pytest.mark.parametrize(
    ("transactions", "limit", "description"),
    [
        (parse_mysql(""), 5, "no transactions"),
        (parse_mysql(f"{U}:7"), 53, f"1 transaction: {U}:7"),
        (parse_mysql(f"{U}:7"), 1, f"1 transaction: {U}:7"),
        (parse_mysql(f"{U}:1-1500:2000"), 200, f"1,501 transactions: {U}:1-1500:2000"),
        (parse_mysql(f"{V}:1:3:5"), 58, f"3 transactions: {V}:1:3:5"),
        (parse_mysql(f"{U}:1,{V}:1:3:5"), 75, f"4 transactions: {V}:1:3:5 and 1 more range"),
        (parse_mysql(f"{U}:1,{V}:1:3:5"), 74, f"4 transactions: {V}:1:3 and 2 more ranges"),
        (parse_mysql(f"{U}:1,{V}:1:3:5"), 0, f"4 transactions: {V}:1 and 3 more ranges"),
        (parse_mysql(f"{U}:1:3:t:1-2:10001:10003:10005:10007"), 80, f"8 transactions: {U}:1:3:t:1-2 and 4 more ranges"),
        (parse_mariadb("0-1-101..103"), 99, "at most 3 transactions: 0-1-101..103"),
        (parse_mariadb("0-1-1"), 99, "at most 1 transaction: 0-1-1"),
    ],
)
def test_a_description_fits_into_a_message(transactions: gtid.GtidSet, limit: int, description: str) -> None:
    assert description == transactions.describe(limit)


def test_a_description_takes_200_characters_unless_told() -> None:
    transactions = parse_mysql(f"{U}:" + ":".join(str(number) for number in range(10_001, 20_001, 2)))
    assert f"5,000 transactions: {U}:10001:" in transactions.describe()
    assert transactions.describe().endswith(":10039 and 4,980 more ranges")
    assert transactions.describe() == transactions.describe(200)
    assert 195 <= len(transactions.describe()) <= 200


def test_a_set_shows_its_text_in_logs() -> None:
    assert f"MysqlGtidSet('{U}:1-5')" == repr(parse_mysql(f"{U}:1-5"))
    assert "MariadbGtidSet('0-1-5')" == repr(parse_mariadb("0-1-5"))


def test_identical_texts_are_parsed_once_and_equal_sets_are_one_dictionary_key() -> None:
    text = f"{U}:1-5,{V}:1"
    assert parse_mysql(text) is parse_mysql(text[:10] + text[10:])
    assert 1 == len({parse_mysql(text), parse_mysql(f"{V}:1,{U.upper()}:1-3:2-5")})
