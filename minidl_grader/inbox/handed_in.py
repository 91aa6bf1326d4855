"""Which notebooks have been handed in, as files, in folders, or in zip files of a platform?

    inbox/ada.ipynb                       -> ada
    inbox/bo/02_collectives.ipynb         -> bo--02_collectives
    inbox/all.zip: cy/02.ipynb            -> all--cy--02
    inbox/all.zip: ../../etc/passwd       -> refused, in words

Zip files are read in memory, member by member and within bounds, and nothing is unpacked to disk.
What is refused stays in the list, so that each author learns why.
"""

import io
import re
import stat
import zipfile
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minidl_grader.course.cells import Unfit, digest
from minidl_grader.inbox.submission import LARGEST

LARGEST_ZIP = 200_000_000  # bytes of a zip file inside a zip file
MEMBERS = 10_000  # of a zip file, at most
SKIPPED = (".ipynb_checkpoints", "__MACOSX")
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    ValueError,
    RuntimeError,  # NotImplementedError, too
    EOFError,
)


class HandedIn(NamedTuple):
    """Something that was handed in."""

    key: str  # a name for its results, of letters that every system allows in a file name
    place: str  # where it was found, for people
    data: Any  # a function that returns its bytes, at most LARGEST + 1 of them
    problem: str = ""  # why it is not read, "" if it is


def find(paths):
    """All that was handed in, sorted by key. Raises Unfit for a path that does not exist."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                inside = file.relative_to(path)
                if file.suffix.lower() in (".ipynb", ".zip") and not skipped(inside):
                    found += of_file(file, inside.with_suffix("").parts)
        elif path.exists() or path.is_symlink():
            found += of_file(path, (path.stem,))
        else:
            raise Unfit(f"there is no {path}")
    return with_own_keys(found)


def skipped(path):
    """Is this what editors, systems and Python leave in folders?"""
    return any(part in SKIPPED or part.startswith(".") for part in path.parts)


def of_file(path, name):
    """What a file on disk contains: itself, or the members of a zip file."""
    key = "--".join(name)
    if path.is_symlink() or not path.is_file():
        problem = "It is a link or a device, not a file: it was not read."
        return [HandedIn(key, str(path), bytes, problem)]
    if path.suffix.lower() == ".zip":
        return of_zip(path, str(path), name)

    def data():
        with path.open("rb") as file:
            return file.read(LARGEST + 1)

    return [HandedIn(key, str(path), data)]


def of_zip(source, place, name, is_inner=False):
    """The notebooks in a zip file: a path, or the bytes of one inside another."""
    try:
        with opened(source) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except DAMAGED:
        problem = "The zip file is damaged: it was not read."
        return [HandedIn("--".join(name), place, bytes, problem)]
    found = []
    for info in members[:MEMBERS]:
        path = Path(info.filename)
        kind = path.suffix.lower()
        own_name = (*name, *path.with_suffix("").parts)
        own_place = f"{place}: {info.filename}"
        problem = problem_of(info)
        if problem:
            found.append(HandedIn("--".join(own_name), own_place, bytes, problem))
        elif skipped(path):
            continue
        elif kind == ".ipynb":
            data = partial(member, source, info, LARGEST)
            found.append(HandedIn("--".join(own_name), own_place, data))
        elif kind == ".zip" and not is_inner:
            inner = member(source, info, LARGEST_ZIP)
            found += of_zip(inner, own_place, own_name, is_inner=True)
    return found


def opened(source):
    """The zip file at a path, or in bytes."""
    return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)


def member(source, info, most):
    """The first `most` + 1 bytes of a member, whatever size it claims; none if it is damaged."""
    try:
        with opened(source) as archive, archive.open(info) as file:
            return file.read(most + 1)
    except DAMAGED:
        return b""


def problem_of(info):
    """Why a member of a zip file is not read; "" if it may be."""
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "The zip file names a place outside of itself: refused."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "The zip file holds a link instead of a file: refused."
    if info.flag_bits & 1:
        return "The zip file is encrypted: it was not read."
    return ""


def with_own_keys(found):
    """The same, sorted, with keys that are unique and that every system allows as file names."""
    plain = []
    for one in found:
        key = re.sub(r"[^A-Za-z0-9_-]+", "_", one.key).strip("_-")
        plain.append(key[:100] or "unnamed")
    count = Counter(key.casefold() for key in plain)
    by_key = {}  # a file that was named twice is one
    for key, one in zip(plain, found):
        if count[key.casefold()] > 1:
            key = f"{key}-{digest(one.place)[:8]}"
        by_key[key] = one._replace(key=key)
    return [by_key[key] for key in sorted(by_key)]
