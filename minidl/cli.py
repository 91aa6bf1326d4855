"""The command `minidl`: what can be asked without opening a notebook?

    minidl doctor       will the course work on this machine?  exit code 0 if so, else 1
    minidl --version    which version is this?
"""

import argparse
from minidl import doctor


def main(argv=None):
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="minidl", description="Distributed deep learning, learnt by running it.")
    parser.add_argument("--version", action="version", version=f"minidl {doctor.installed('minidl') or 'not installed'}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="look whether the course will work on this machine, and how well")
    parser.parse_args(argv)
    return doctor.main()
