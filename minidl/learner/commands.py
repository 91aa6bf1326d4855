"""The learner's commands, for a terminal beside the notebook.

minidl check 02      runs the exercise from its first cell and says what it earns; exit code 0 if everything passes
minidl progress      what is done of the course
minidl ask 02        the last failed check of an exercise in one file, for a teacher
"""

import os
import subprocess
import sys
from pathlib import Path

from minidl.learner import mine, notes
from minidl.learner.ask import NothingToAsk, ask
from minidl.learner.notes import course, noted, progress

SECONDS = 600  # for a whole exercise; a cell has its own limit


def add_commands(commands):
    """Add check, progress and ask to an argparse subparsers object; each sets `run`, a function of the options."""
    check = commands.add_parser("check", help="run an exercise and say what it earns")
    check.add_argument("exercise", help="a number, such as 02, or the path of a notebook")
    check.set_defaults(run=lambda options: check_exercise(options.exercise))
    shown = commands.add_parser("progress", help="what is done of the course")
    shown.set_defaults(run=lambda options: print(progress()) or 0)
    asked = commands.add_parser(
        "ask", help="the last failed check of an exercise in one file, for a teacher"
    )
    asked.add_argument("exercise", help="a number, such as 02")
    asked.set_defaults(run=lambda options: ask_teacher(options.exercise))


def ask_teacher(exercise):
    """Write the file and say where; exit code 1 if there is nothing to ask."""
    try:
        path = ask(exercise[:2])
    except NothingToAsk as reason:
        print(reason)
        return 1
    print(
        f"Written: {path}\nIt holds your code, your variant's seed, the error and every message of the failing run. Send it to your teacher."
    )
    return 0


def find_exercise(which):
    """The notebook that "02" or a path means, the learner's own copy first; None if there is none."""
    if which.endswith(".ipynb"):
        return Path(which) if Path(which).exists() else None
    work = mine.home() or mine.home(notes.EXERCISES.parent / "work")
    folders = [Path.cwd() / "exercises", *([work / "exercises"] if work else []), notes.EXERCISES]
    folders = [Path.cwd()] * (Path.cwd().name == "exercises") + folders
    return next(
        (path for folder in folders for path in sorted(folder.glob(f"{which}*.ipynb"))), None
    )


def check_exercise(which):
    """Run the exercise under nbval and print its tasks; exit code 0 if all pass."""
    path = find_exercise(which)
    if path is None:
        print(f"No exercise {which!r} was found here. They are: {', '.join(course()) or 'none'}")
        return 1
    print(f"Running {path}, from its first cell to its last ...", flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=120",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--rootdir={path.parent}",
        str(path),
    ]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(
            f"It did not end within {SECONDS} seconds. Open it in JupyterLab and look for the cell that does not end."
        )
        return 1
    reports = reports_in(ended.stdout)
    print(
        "\n".join(reports)
        if reports
        else "Every check passes."
        if ended.returncode == 0
        else ended.stdout[-3000:]
    )
    if ended.returncode == 0 and mine.home() is not None:
        done = noted()["tasks"]
        earned = sum(
            entry["earned"] for task, entry in done.items() if task.startswith(path.name[:2])
        )
        print(f"{earned:g} points are noted for exercise {path.name[:2]}.")
    return 0 if ended.returncode == 0 else 1


def reports_in(text):
    """The reports of failed checks in nbval's output: a line "02-task: ... points" and the indented lines below it."""
    found, inside = [], False
    for line in text.splitlines():
        inside = "points" in line and line[:2].isdigit() if not line.startswith("  ") else inside
        found += [line] if inside else []
    return found
