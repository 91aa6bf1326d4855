"""The instructor's commands, for a course that is taught.

    minidl release       exercises/ from solutions/: stubs in place of solutions, nothing hidden in them
"""

import sys
from pathlib import Path

from minidl.grading.cells import EXERCISES, SOLUTIONS, Unfit
from minidl.grading.release import release_all


def add_commands(commands):
    """Add release to an argparse subparsers object; each command sets `run`, a function of the options."""
    release = commands.add_parser("release", help="write the exercises from their solutions")
    release.add_argument("numbers", nargs="*", metavar="NN", help="beginnings of names, such as 02; all without them")
    release.add_argument("--check", action="store_true", help="write nothing; exit code 1 if an exercise differs from its solutions")
    release.add_argument("--solutions", type=Path, default=SOLUTIONS, metavar="FOLDER", help="another course's solutions")
    release.add_argument("--exercises", type=Path, default=EXERCISES, metavar="FOLDER", help="where the exercises are written")
    release.set_defaults(run=in_words(lambda options: release_all(options.numbers, options.solutions, options.exercises, options.check)))


def in_words(run):
    """The same, with a sentence and exit code 2 in place of Unfit."""
    def told(options):
        try:
            return run(options)
        except Unfit as reason:
            print(f"minidl: {reason}", file=sys.stderr)
            return 2
    return told
