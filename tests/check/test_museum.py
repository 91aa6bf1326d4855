"""No grader without its impostors: every mutant loses what it should, every solution loses nothing."""

import functools
import importlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.check.museum import SOLUTIONS, earned, exercise, judged, lost, tasks

NUMBERS = sorted(path.name[:2] for path in SOLUTIONS.glob("*.ipynb"))
MUSEUM = {
    number: importlib.import_module(f"tests.check.museum_{number}").MUTANTS for number in NUMBERS
}
NOTEBOOKS = {number: exercise(number) for number in NUMBERS}
QUICK = "00"  # the one museum that a run without the slow tests visits


def marks(number):
    """The marks of a test of this exercise."""
    return [] if number == QUICK else [pytest.mark.slow]


TASKS = [
    pytest.param(number, task, marks=marks(number))
    for number in NUMBERS
    for task in tasks(NOTEBOOKS[number])
]
ALL = [
    pytest.param(number, mutant, id=str(mutant), marks=marks(number))
    for number in NUMBERS
    for mutant in MUSEUM[number]
]
EXERCISES = [pytest.param(number, marks=marks(number)) for number in NUMBERS]
STUDENTS = ("Ada", "Grace", "Edsger")  # other seeds: other inputs, roots, offsets, directions


class Judgement(NamedTuple):
    """What the checks of one task said about its solution."""

    passed: bool
    demanded: frozenset  # the keys of all demands
    words: str


@functools.cache
def judgement(number, task, learner):
    """The judgement of a solution; two tests read it, and it is made once."""
    reports = judged(NOTEBOOKS[number], task, learner=learner)
    findings = [finding for report in reports for finding in report.findings]
    passed = bool(reports) and all(report.passed for report in reports)
    return Judgement(passed, frozenset(one.demand.key for one in findings), str(reports))


@pytest.mark.parametrize("number, task", TASKS)
def test_the_solution_earns_everything(number, task):
    for learner in STUDENTS:
        found = judgement(number, task, learner)
        assert found.passed, f"{learner}: {found.words}"


@pytest.mark.parametrize("number, mutant", ALL)
def test_a_mutant_loses_what_it_should(number, mutant):
    reports = judged(NOTEBOOKS[number], mutant.task, mutant.answer)
    assert lost(reports) == mutant.loses, f"{mutant}\n{reports}"
    assert mutant.loses and earned(reports) <= 0.75


@pytest.mark.parametrize("number", EXERCISES)
def test_every_task_has_four_mutants_and_every_demand_is_failed_by_one(number):
    mutants = MUSEUM[number]
    count = Counter(mutant.task for mutant in mutants)
    for task in tasks(NOTEBOOKS[number]):
        assert count[task] >= 4, f"{task} has {count[task]} mutants"
        demanded = judgement(number, task, "Ada").demanded
        failed = {key for mutant in mutants if mutant.task == task for key in mutant.loses}
        assert demanded <= failed, f"{task}: nothing fails {demanded - failed}"


def test_most_mutants_have_right_values():
    mutants = [mutant for museum in MUSEUM.values() for mutant in museum]
    assert sum(mutant.values_alone for mutant in mutants) > len(mutants) / 2


@pytest.mark.parametrize("number", EXERCISES)
def test_the_nearest_function_of_the_package_earns_at_most_half(number):
    nearest = importlib.import_module(f"tests.check.museum_{number}").NEAREST
    for task, answers in nearest.items():
        for answer in answers:
            assert earned(judged(NOTEBOOKS[number], task, answer)) <= 0.5, f"{task}: {answer}"
    assert set(nearest) == set(tasks(NOTEBOOKS[number]))


def test_this_file_sees_the_exercises():
    assert {"00", "01", "02"} <= set(NUMBERS) and Path(SOLUTIONS).is_dir()
