"""Does the notebook run as its author saw it?  nbval runs the kernel's copy in an empty folder.

    folder/02_collectives.ipynb --pytest --nbval-lax--> cell 3 passed, cell 7 failed, ...

No point comes from here: what this says can be forged by the notebook itself. It tells whether the
notebook runs to its end, and which of its visible checks pass there.
"""

import json
import re
from typing import NamedTuple

import nbformat

from minidl_grader.course.cells import role, task
from minidl_grader.judge.confine import clean_environment

LINE = re.compile(r"::Cell (\d+) (PASSED|FAILED|XFAIL|XPASS|SKIPPED|ERROR)")


class Shown(NamedTuple):
    """How the kernel's copy ran.

    checks     {task: passed} of its visible checks
    ended      why it did not run to its end, or ""
    seconds    on the clock;  cpu: of processor time
    isolation  phrases that say what locked it in
    """

    cells: int
    passed: int
    checks: dict
    ended: str
    seconds: float
    cpu: float
    isolation: list

    def words(self):
        """One sentence."""
        if self.ended:
            return f"Your notebook did not run to its end. {self.ended}"
        return (
            f"Your notebook ran to its end: {self.passed} of {self.cells} cells without an error."
        )


def run(notebook, name, folder, keepers, limits, cell_seconds=60):
    """Execute the kernel's copy in `folder`, which is empty; returns Shown."""
    path = folder / f"{name}.ipynb"
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    report = folder.with_name("isolation.json")
    command = [
        "notebook",
        folder,
        report,
        "--nbval-lax",
        "--nbval-current-env",
        f"--nbval-cell-timeout={cell_seconds}",
        "--nbval-kernel-startup-timeout=60",
        "-v",
        "--tb=no",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        f"--rootdir={folder}",
        f"--confcutdir={folder}",
        path.name,
    ]
    environment = clean_environment(folder) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = keepers.run(command, folder, limits, environment, remove=folder.parent)
    return shown(notebook, ended, phrases(report))


def phrases(path):
    """What kernel_cage.py has written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ["a process group and limits of its own, and nothing else"]


def shown(notebook, ended, isolation):
    """Read pytest's output. The cells that nbval did not reach count as not passed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = {int(number): word == "PASSED" for number, word in LINE.findall(ended.output)}
    passed = [found.get(number, False) for number in range(len(code))]
    checks = {task(cell): good for cell, good in zip(code, passed) if role(cell) == "check"}
    why = ended.words() or ("" if len(found) == len(code) else "Its kernel died.")
    return Shown(len(code), sum(passed), checks, why, ended.seconds, ended.cpu, isolation)
