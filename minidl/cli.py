"""The command `minidl`: what can be asked without opening a notebook?

    minidl doctor        will the course work on this machine?  exit code 0 if so, else 1
    minidl check 02      what does my exercise earn?
    minidl progress      what is done of the course?
    minidl ask 02        one file for a teacher, about the last check that failed
    minidl release       the exercises, written from their solutions
    minidl grade inbox/  points and feedback for everything that was handed in
    minidl --version     which version is this?

The last two are the instructor's, and belong to the package minidl_grader. The others work without
it.
"""

import argparse
import importlib
import importlib.util
import sys

from minidl.learner import commands as learner
from minidl.learner import doctor

GRADER = "minidl_grader"


def main(argv=None):
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="minidl", description="Distributed deep learning, learnt by running it."
    )
    version = doctor.installed("minidl") or "not installed"
    parser.add_argument("--version", action="version", version=f"minidl {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    health = commands.add_parser(
        "doctor", help="look whether the course will work on this machine, and how well"
    )
    health.set_defaults(run=lambda options: doctor.main())
    learner.add_commands(commands)
    if importlib.util.find_spec(GRADER):
        importlib.import_module(f"{GRADER}.instructor").add_commands(commands)
    else:
        for name in ("release", "grade"):
            # With this prefix character every word that follows is a positional argument.
            command = commands.add_parser(
                name, help=f"needs the package {GRADER}", prefix_chars="\0", add_help=False
            )
            command.add_argument("words", nargs="*")
            command.set_defaults(run=without_grader)
    options = parser.parse_args(argv)
    return options.run(options)


def without_grader(options):
    """Say that the instructor's package is missing; returns the exit code."""
    print(
        f"minidl {options.command} needs the package {GRADER}, which is not installed."
        " It comes with minidl's repository: pip install -e .",
        file=sys.stderr,
    )
    return 2
