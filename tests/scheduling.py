"""Which tests run in one worker, in which order do the workers begin, and what does a notebook
cost?

    tests/browser/...[03_data_parallel.ipynb]  ->  notebooks/03_data_parallel.ipynb::Cell 0, 1, ...
    tests/.../test_museum.py::...[03-...]      ->  one unit for each exercise
    everything else                            ->  one unit for each file

A unit runs in one worker and in the order of its file, since its tests share worlds, kernels and
judges. The longest units begin first, so that no worker ends with a long one alone.
"""

import re
from collections import Counter

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:  # without xdist there is one process, and nothing to schedule
    LoadScopeScheduling = object

BUDGET = 60  # seconds for a notebook with its exercise and museum, on an idle machine

# The parts of a unit's name, the longest unit first. What is not named takes a few seconds.
LONGEST = (
    "notebooks/04",
    "notebooks/03",
    "notebooks/02",
    "test_census",
    "notebooks/",
    "test_hostile",
    "test_museum.py 04",
    "test_release",
    "test_score",
    "test_museum.py 03",
    "test_kernel",
    "test_deadlock_property",
    "test_torchrun",
    "test_museum.py 02",
    "test_zero",
    "test_imagined",
    "test_museum",
    "collectives/",
    "test_start",
    "test_doctor",
    "test_world",
    "test_models",
    "test_costs",
)


def unit(nodeid):
    """The name of the unit to which a test belongs."""
    file, _, rest = nodeid.partition("::")
    notebook = re.search(r"\[(\d\d\w+\.ipynb)\]", rest)
    if notebook:
        return f"notebooks/{notebook[1]}"
    exercise = re.search(r"\[(\d\d)\b", rest)
    if exercise and file.endswith("test_museum.py"):
        return f"{file} {exercise[1]}"
    return file


def rank(nodeid):
    """When a test's unit begins: 0 is first."""
    name = unit(nodeid)
    for number, part in enumerate(LONGEST):
        if part in name:
            return number
    return len(LONGEST)


class Units(LoadScopeScheduling):
    """xdist's scheduling of whole scopes, where a scope is a unit."""

    def _split_scope(self, nodeid):
        return unit(nodeid)


class Bill:
    """A plugin that adds up the seconds of each notebook with its exercise and museum."""

    FILES = ("notebooks/", "test_in_jupyterlab.py", "test_museum.py", "test_release.py")

    def __init__(self):
        self.seconds = Counter()

    def pytest_runtest_logreport(self, report):
        """Add the seconds of one phase of a test."""
        number = re.search(r"(?:notebooks/|\[)(\d\d)[_\]-]", report.nodeid)
        if number and any(file in report.nodeid for file in self.FILES):
            self.seconds[number[1]] += report.duration

    def pytest_terminal_summary(self, terminalreporter):
        """Write one line about all notebooks."""
        if self.seconds:
            costs = [f"{number}: {cost:.0f}" for number, cost in sorted(self.seconds.items())]
            words = f"seconds of each notebook, exercise and museum (at most {BUDGET} are meant): "
            terminalreporter.write_line(words + ", ".join(costs))
