"""The instructor's commands, for a course that is taught.

minidl release       exercises/ from solutions/: stubs in place of solutions, nothing hidden in them
minidl grade PATHS   points, feedback and a class summary for everything that was handed in
"""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

from minidl_grader.course import nbgrader
from minidl_grader.course.cells import EXERCISES, SOLUTIONS, Unfit
from minidl_grader.course.release import release_all
from minidl_grader.inbox import handed_in
from minidl_grader.inbox.feedback import write_feedback
from minidl_grader.inbox.nbgrader_grades import export_graded
from minidl_grader.inbox.score import Course, Grading, Settings
from minidl_grader.inbox.summary import summary_text, write_summary
from minidl_grader.inbox.tables import terminal, write_tables

EXIT_INTERRUPTED = 130  # as shells say it


def add_commands(commands):
    """Add release and grade to an argparse subparsers object.

    Each command sets `run`, a function of the options that returns the exit code.
    """
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
    release.set_defaults(run=partial(in_words, release_them))
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
        "--points-only",
        action="store_true",
        help="ask the judge alone, and do not run the notebooks as their authors saw them",
    )
    grade.add_argument(
        "--nbgrader",
        action="store_true",
        help="also write submissions and points as nbgrader keeps them",
    )
    grade.set_defaults(run=partial(in_words, grade_all))
    for command in (release, grade):
        command.add_argument(
            "--solutions",
            type=Path,
            default=SOLUTIONS,
            metavar="FOLDER",
            help="another course's solutions",
        )


def release_them(options):
    """Write or compare the exercises, for minidl or for nbgrader; returns the exit code."""
    if options.nbgrader:
        return nbgrader.export(options.numbers, options.solutions, options.nbgrader)
    return release_all(options.numbers, options.solutions, options.exercises, options.check)


def grade_all(options):
    """Grade, write every report, print the table.

    Returns the exit code: 1 if something could not be graded, 130 when interrupted.
    """
    found = handed_in.find(options.paths)
    settings = Settings(
        options.solutions, options.exercise, options.jobs, shown=not options.points_only
    )
    grading = Grading(Course(options.solutions), options.out, settings)
    # SIGTERM, too, raises KeyboardInterrupt, so that no process survives.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = list(grading.run(found).values())
    except KeyboardInterrupt:
        print("Stopped. Results so far are kept: the same call continues.", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    write_reports(results, options.out)
    if options.nbgrader:
        export_graded(results, found, grading.course, options.out / "nbgrader")
    width = shutil.get_terminal_size((110, 24)).columns
    print(terminal(results, width), summary_text(results), sep="\n\n")
    folders = ", ".join(f"{name}{os.sep}" for name in ("feedback", "gradescope", "results"))
    print(f"Written to {options.out}{os.sep}: grades.csv, junit.xml, summary.html, {folders}")
    return int(any(result["problem"] for result in results))


def write_reports(results, out):
    """Every form of the results."""
    write_tables(results, out)
    write_feedback(results, out)
    write_summary(results, out)


def in_words(run, options):
    """run(options), with a sentence and exit code 2 in place of Unfit."""
    try:
        return run(options)
    except Unfit as reason:
        print(f"minidl: {reason}", file=sys.stderr)
        return 2
