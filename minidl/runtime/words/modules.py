"""Which modules are the learner's own, and is their code still what a process imported?

    helpers.py   edited --> every module that uses it --> forgotten, so that the next import reads
                                                          the file again

A module is the learner's if its file is neither of minidl nor of an installed package.
"""

import os

from minidl.runtime.words.calling import GRADER, INSTALLED, PACKAGE

NOT_OWN = (PACKAGE, GRADER, *INSTALLED)
SITES = ("site-packages", "dist-packages")  # of the user and of the system, beside Python's own


def is_learners(file):
    """Is this file the learner's own source?"""
    parts = file.split(os.sep)
    installed = file.startswith(NOT_OWN) or any(site in parts for site in SITES)
    return file.endswith(".py") and not installed


def learners_modules(modules):
    """The learner's modules among these, which are sys.modules."""
    found = []
    for module in list(modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_learners(file):
            found.append(module)
    return found
