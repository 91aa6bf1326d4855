"""The instructor's commands, for a course that is taught.

minidl release       exercises/ from solutions/: stubs in place of solutions, nothing hidden in them
minidl grade PATHS   points, feedback and a class summary for everything that was handed in
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from minidl_grader.course import nbgrader
from minidl_grader.course.cells import EXERCISES, SOLUTIONS, Unfit
from minidl_grader.course.release import release_all
from minidl_grader.inbox import feedback, handed_in, summary, tables
from minidl_grader.inbox.score import Course, Grading, Settings


def add_commands(commands):
    """Add release and grade to an argparse subparsers object; each command sets `run`, a function of the options."""
    release = commands.add_parser("release", help="write the exercises from their solutions")
    release.add_argument(
        "numbers", nargs="*", metavar="NN", help="beginnings of names, such as 02; all without them"
    )
    release.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit code 1 if an exercise differs from its solutions",
    )
    release.add_argument(
        "--solutions",
        type=Path,
        default=SOLUTIONS,
        metavar="FOLDER",
        help="another course's solutions",
    )
    release.add_argument(
        "--exercises",
        type=Path,
        default=EXERCISES,
        metavar="FOLDER",
        help="where the exercises are written",
    )
    release.add_argument(
        "--nbgrader",
        type=Path,
        metavar="FOLDER",
        help="write source/ and release/ for nbgrader there, and nothing else",
    )
    release.set_defaults(run=in_words(release_them))
    grade = commands.add_parser("grade", help="grade everything that was handed in")
    grade.add_argument(
        "paths", nargs="+", metavar="PATH", help="notebooks, folders and zip files of notebooks"
    )
    grade.add_argument(
        "--exercise",
        default="",
        metavar="NN",
        help="grade all as this exercise; without it each is recognised by its tasks",
    )
    grade.add_argument(
        "--out",
        type=Path,
        default=Path("grades"),
        metavar="FOLDER",
        help="where results are written, and found again (grades)",
    )
    grade.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="submissions at once (as many as there are cores)",
    )
    grade.add_argument(
        "--solutions",
        type=Path,
        default=SOLUTIONS,
        metavar="FOLDER",
        help="another course's solutions",
    )
    grade.add_argument(
        "--points-only",
        action="store_true",
        help="ask the judge alone, and do not run the notebooks as their authors saw them",
    )
    grade.add_argument(
        "--nbgrader",
        action="store_true",
        help="also write submissions and points as nbgrader keeps them",
    )
    grade.set_defaults(run=in_words(grade_all))


def release_them(options):
    """Write or compare the exercises, for minidl or for nbgrader; returns the exit code."""
    if options.nbgrader:
        return nbgrader.export(options.numbers, options.solutions, options.nbgrader)
    return release_all(options.numbers, options.solutions, options.exercises, options.check)


def grade_all(options):
    """Grade, write every report, print the table; exit code 1 if something could not be graded, 130 when interrupted."""
    found = handed_in.find(options.paths)
    settings = Settings(
        options.solutions, options.exercise, options.jobs, shown=not options.points_only
    )
    grading = Grading(Course(options.solutions), options.out, settings)
    before = signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # also then nobody is left behind
    try:
        results = list(grading.run(found).values())
    except KeyboardInterrupt:
        print("Stopped. What is done is kept: the same call goes on from there.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    write_reports(results, options.out)
    if options.nbgrader:
        nbgrader.export_graded(results, found, grading.course, options.out / "nbgrader")
    print(
        tables.terminal(results, shutil.get_terminal_size((110, 24)).columns),
        summary.text(results),
        sep="\n\n",
    )
    print(
        f"Written to {options.out}{os.sep}: grades.csv, junit.xml, summary.html, feedback{os.sep}, gradescope{os.sep}, results{os.sep}"
    )
    return int(any(result["problem"] for result in results))


def write_reports(results, out):
    """Every form of the results."""
    for form in (tables, feedback, summary):
        form.write_all(results, out)


def in_words(run):
    """The same, with a sentence and exit code 2 in place of Unfit."""

    def told(options):
        try:
            return run(options)
        except Unfit as reason:
            print(f"minidl: {reason}", file=sys.stderr)
            return 2

    return told
