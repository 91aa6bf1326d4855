"""The command `minidl`: what can be asked without opening a notebook?

minidl doctor        will the course work on this machine?  exit code 0 if so, else 1
minidl check 02      what does my exercise earn?
minidl progress      what is done of the course?
minidl ask 02        one file for a teacher, about the last check that failed
minidl release       the exercises, written from their solutions
minidl grade inbox/  points and feedback for everything that was handed in
minidl --version     which version is this?
"""

import argparse

from minidl.learner import commands as learner
from minidl.learner import doctor
from minidl_grader import instructor


def main(argv=None):
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="minidl", description="Distributed deep learning, learnt by running it."
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"minidl {doctor.installed('minidl') or 'not installed'}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    looked = commands.add_parser(
        "doctor", help="look whether the course will work on this machine, and how well"
    )
    looked.set_defaults(run=lambda options: doctor.main())
    for room in (learner, instructor):
        room.add_commands(commands)
    options = parser.parse_args(argv)
    return options.run(options)
