"""Which modules are the learner's own, and is their code still what this process imported?

    helpers.py   edited  -->  forgotten, and every module that uses it  -->  the next import reads
                                                                             the files again

A module is the learner's if its file belongs neither to minidl nor to an installed package. In a
kernel autoreload does the same; a rank has no autoreload, and lives as long as its World.
"""

import importlib
import linecache
import os
import sys
import time
from contextlib import suppress
from functools import cache

from minidl.runtime.words.calling import GRADER, INSTALLED, PACKAGE

NOT_OWN = (PACKAGE, GRADER, *INSTALLED)
SITES = ("site-packages", "dist-packages")  # of the user and of the system, beside Python's own


@cache  # asked for every module, at each run
def is_learners(file):
    """Is this file the learner's own source?"""
    parts = file.split(os.sep)
    installed = file.startswith(NOT_OWN) or any(site in parts for site in SITES)
    return file.endswith(".py") and not installed


_others = {}  # name -> module that is not the learner's: a look at a thousand takes 1 ms


def learners_modules():
    """{name: module} of the learner's modules that this process has imported."""
    found = {}
    for name, module in list(sys.modules.items()):
        if _others.get(name) is module:
            continue
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_learners(file):
            found[name] = module
        elif file is not None:  # else its import may have just begun
            _others[name] = module
    return found


def imports(frame):
    """Is a thread in the middle of an import, if this is its innermost frame?

    An import that is stopped there leaves submodules without their package, and later imports of
    the package fail in words about a module that lacks an attribute.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class OwnModules:
    """The learner's modules that a rank has imported; forgets those that were edited since."""

    def __init__(self):
        self.known = {}  # name -> (module, stamp of its file when it was imported)
        self.outdated = {}  # name -> module that was forgotten, and that names may still lead to
        self.began = time.time()
        self.count = len(sys.modules)

    def begin(self):
        """Before a run: forget modules whose files were edited, and the modules that use them."""
        self.began = time.time()
        edited = set()
        for name, (module, stamp) in self.known.items():
            if stamp != _stamp(module.__file__):
                edited.add(name)
        if not edited:
            return
        for name in self._affected(edited):
            module, _ = self.known.pop(name)
            sys.modules.pop(name, None)
            self.outdated[name] = module
            with suppress(OSError, TypeError):
                # Python compares seconds and sizes, and takes a quick edit for the old file.
                os.unlink(module.__cached__)
        linecache.checkcache()
        importlib.invalidate_caches()
        self.count = None

    def refresh(self, names):
        """Let these names lead to the new modules, functions and classes where they led to old."""
        for name, value in list(names.items()):
            if any(value is module for module in self.outdated.values()):
                names[name] = importlib.import_module(value.__name__)
                continue
            home = _home(value)
            if home in self.outdated:
                module = importlib.import_module(home)
                names[name] = getattr(module, getattr(value, "__name__", ""), value)
        self.outdated.clear()

    def end(self):
        """After a run: note what it has imported."""
        if len(sys.modules) == self.count:
            return
        self.count = len(sys.modules)
        for name, module in learners_modules().items():
            if name not in self.known or self.known[name][0] is not module:
                stamp = _stamp(module.__file__)
                if stamp is not None and stamp[0] / 1e9 >= self.began:
                    stamp = None  # edited meanwhile: before the import, or after it?
                self.known[name] = module, stamp

    def _affected(self, edited):
        """These modules, their submodules, and the modules that use any of them."""
        affected = set()
        fresh = set(edited)
        while fresh:
            affected |= fresh
            fresh = set()
            for name, (module, _) in self.known.items():
                if name not in affected and (
                    _inside(name, affected) or self._uses(module, affected)
                ):
                    fresh.add(name)
        return affected

    def _uses(self, module, affected):
        modules = [self.known[name][0] for name in affected]
        for value in vars(module).values():
            if _home(value) in affected or any(value is other for other in modules):
                return True
        return False


def _inside(name, packages):
    """Is this the name of a submodule of one of these packages?"""
    return any(name.startswith(package + ".") for package in packages)


def _home(value):
    """The name of the module that defines this function, class or object; None if it has none."""
    try:
        home = getattr(value, "__module__", None)
    except Exception:  # a proxy of something that is not there now
        return None
    return home if isinstance(home, str) else None


def _stamp(file):
    """(time of its last change, size) of a file; None if it is gone."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
