"""Every scenario file gives the answers that are written in it.

``REWRITE_SCENARIOS=1`` writes the answers of the code into the files; then review the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator_raft.core.analysis import RULES, STRUCTURE_WARNINGS
from tests.core.scenario import EXPECT, Section, World, read, write
from tests.core.scenario_play import ask

FOLDER = Path(__file__).parent.parent / "scenarios"
FILES = sorted(FOLDER.glob("*.txt"))


def answered(sections: list[Section]) -> list[Section]:
    """The sections with the answers of the code in place of those that are written."""
    world = World(sections[0].lines)
    answer: list[str] = []
    answers = []
    for section in sections:
        if section.verb == EXPECT:
            section = Section(EXPECT, section.words, [*answer, ""])
        else:
            answer = ask(world, section.verb, section.words, section.lines)
        answers.append(section)
    answers[-1].lines.pop()
    return answers


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_gives_the_answers_that_are_written_in_it(path: Path) -> None:
    sections = read(path)
    assert any(section.verb == EXPECT for section in sections)
    answers = answered(sections)
    if os.environ.get("REWRITE_SCENARIOS"):
        write(path, answers)
        pytest.skip("rewritten: review the difference")
    for written, given in zip(sections, answers, strict=True):
        assert meaningful_lines(written) == meaningful_lines(given)


def meaningful_lines(section: Section) -> list[str]:
    return [line.rstrip() for line in section.lines if line.strip()]


@pytest.mark.parametrize("code", [rule.code for rule in RULES] + [warning.code for warning in STRUCTURE_WARNINGS])
def test_every_rule_and_every_structure_warning_has_a_scenario(code: str) -> None:
    answers = "\n".join("\n".join(section.lines) for path in FILES for section in read(path) if section.verb == EXPECT)
    assert code in answers.replace(",", " ").split()
