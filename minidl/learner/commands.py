"""The learner's commands, for a terminal beside the notebook.

minidl check 02      runs an exercise and says what it earns; exit code 0 if everything passes
minidl progress      what is done of the course
minidl ask 02        the last failed check of an exercise in one file, for a teacher
"""

import os
import subprocess
import sys
from pathlib import Path

from minidl.learner import mine, notes
from minidl.learner.ask import NothingToAsk, ask

SECONDS = 600  # for a whole exercise; a cell has its own limit
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120")


def add_commands(commands):
    """Add check, progress and ask to an argparse subparsers object.

    Each sets `run`, a function of the options that returns the exit code.
    """
    check = commands.add_parser("check", help="run an exercise and say what it earns")
    check.add_argument("exercise", help="a number, such as 02, or the path of a notebook")
    check.set_defaults(run=check_exercise)
    shown = commands.add_parser("progress", help="what is done of the course")
    shown.set_defaults(run=show_progress)
    asked = commands.add_parser("ask", help="write your last failed check to a file, for a teacher")
    asked.add_argument("exercise", help="a number, such as 02")
    asked.set_defaults(run=ask_teacher)


def show_progress(options):
    """Print what is done of the course; returns exit code 0."""
    print(notes.progress())
    return 0


def ask_teacher(options):
    """Write the file and say where it is; exit code 1 if there is nothing to ask."""
    try:
        path = ask(options.exercise[:2])
    except NothingToAsk as reason:
        print(reason)
        return 1
    print(f"Written: {path}")
    print("It holds your code, the seed of your variant, the error and every message of the run")
    print("that failed. Send it to your teacher.")
    return 0


def find_exercise(which):
    """The notebook that "02" or a path means, the learner's own copy first, or None."""
    if which.endswith(".ipynb"):
        return Path(which) if Path(which).exists() else None
    here = Path.cwd()
    folders = [here] if here.name == "exercises" else []
    folders.append(here / "exercises")
    work = mine.home() or mine.home(notes.EXERCISES.parent / "work")
    if work is not None:
        folders.append(work / "exercises")
    # the package's own copies come last
    folders.append(notes.EXERCISES)
    found = (path for folder in folders for path in sorted(folder.glob(f"{which}*.ipynb")))
    return next(found, None)


def check_exercise(options):
    """Run the exercise under nbval and print its failed tasks; exit code 0 if all pass."""
    path = find_exercise(options.exercise)
    if path is None:
        names = ", ".join(notes.course()) or "none"
        print(f"No exercise {options.exercise!r} was found here. The exercises are: {names}")
        return 1
    print(f"Running {path}, from its first cell to its last ...", flush=True)
    # nbval runs the notebook as JupyterLab does; no configuration of the folder around it counts.
    command = [sys.executable, "-m", "pytest", *NBVAL, "-q", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, f"--rootdir={path.parent}", str(path)]
    try:
        # The output is captured, because only the reports in it are shown.
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(f"The exercise did not end within {SECONDS} seconds.")
        print("Open it in JupyterLab and look for the cell that does not end.")
        return 1
    if done.returncode == 0:
        print("Every check passes.")
        _print_points(path.name[:2])
        return 0
    # Without a report something else failed; then the end of nbval's output is shown.
    print("\n".join(_reports_in(done.stdout)) or done.stdout[-3000:])
    return 1


def _print_points(exercise):
    """Print the points that are noted for an exercise, in a learner's folder."""
    if mine.home() is None:
        return
    # Tasks are named after their exercise: 02-shift belongs to 02.
    tasks = notes.noted()["tasks"]
    earned = [result["earned"] for task, result in tasks.items() if task.startswith(exercise)]
    print(f"{sum(earned):g} points are noted for exercise {exercise}.")


def _reports_in(text):
    """The reports of failed checks in nbval's output.

    A report is a line "02-task: ... points" and the indented lines below it.
    """
    lines = []
    inside = False
    for line in text.splitlines():
        # A line that is not indented begins a report, or ends one.
        if not line.startswith("  "):
            inside = line[:2].isdigit() and "points" in line
        if inside:
            lines.append(line)
    return lines
