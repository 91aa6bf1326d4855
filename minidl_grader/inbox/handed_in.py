"""Which notebooks have been handed in? Files, folders of files, and zip files as learning platforms give them.

    inbox/ada.ipynb                       -> ada
    inbox/bo/02_collectives.ipynb         -> bo--02_collectives
    inbox/all.zip: cy/02.ipynb            -> all--cy--02
    inbox/all.zip: ../../etc/passwd       -> refused, in words

Zip files are read in memory, member by member and within bounds, and nothing is unpacked to disk. What is refused
stays in the list, so that nobody's work is lost without a word.
"""

import io
import re
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from minidl_grader.course.cells import Unfit, digest
from minidl_grader.inbox.submission import LARGEST

LARGEST_ZIP = 200_000_000  # bytes of a zip file inside a zip file
MEMBERS = 10_000  # of a zip file that are looked at
SKIPPED = (".ipynb_checkpoints", "__MACOSX")


class HandedIn(NamedTuple):
    """Something that was handed in.

    key      a name for its results, of letters that every system allows in a file name
    place    where it was found, for people
    data     a function that returns its bytes, at most LARGEST + 1 of them
    problem  why it is not read, "" if it is
    """

    key: str
    place: str
    data: Any
    problem: str = ""


def find(paths):
    """All that was handed in, sorted by key. Raises Unfit for a path that does not exist."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            found += [
                one
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in (".ipynb", ".zip") and looked_at(file.relative_to(path))
                for one in of_file(file, file.relative_to(path).with_suffix("").parts)
            ]
        elif path.exists() or path.is_symlink():
            found += of_file(path, (path.stem,))
        else:
            raise Unfit(f"there is no {path}")
    return with_own_keys(found)


def looked_at(path):
    """False for what editors, systems and Python leave in folders."""
    return not any(part in SKIPPED or part.startswith(".") for part in path.parts)


def of_file(path, name):
    """What a file on disk holds: itself, or the members of a zip file."""
    if path.is_symlink() or not path.is_file():
        return [
            HandedIn(
                "--".join(name),
                str(path),
                bytes,
                "It is a link or a device, not a file: it was not read.",
            )
        ]
    if path.suffix.lower() == ".zip":
        return of_zip(path, str(path), name)
    return [HandedIn("--".join(name), str(path), lambda: beginning(path.open("rb")))]


def beginning(file):
    """The bytes of an open file, as far as they are wanted."""
    with file:
        return file.read(LARGEST + 1)


def of_zip(source, place, name, depth=0):
    """The notebooks in a zip file: a path, or bytes of one inside another."""
    try:
        members = [info for info in opened(source).infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return [
            HandedIn("--".join(name), place, bytes, "The zip file is damaged: it was not read.")
        ]
    found = []
    for info in members[:MEMBERS]:
        path, suffix = Path(info.filename), Path(info.filename).suffix.lower()
        own = (*name, *path.with_suffix("").parts)
        problem = unsafe(info)
        if problem:
            found.append(HandedIn("--".join(own), f"{place}: {info.filename}", bytes, problem))
        elif suffix == ".ipynb" and looked_at(path):
            found.append(
                HandedIn(
                    "--".join(own),
                    f"{place}: {info.filename}",
                    lambda info=info: member(source, info, LARGEST),
                )
            )
        elif suffix == ".zip" and looked_at(path) and depth < 1:
            found += of_zip(
                member(source, info, LARGEST_ZIP), f"{place}: {info.filename}", own, depth + 1
            )
    return found


def opened(source):
    return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)


def member(source, info, most):
    """The bytes of a member, at most `most` + 1 whatever it says of its size; none where it is damaged."""
    try:
        with opened(source) as archive, archive.open(info) as file:
            return file.read(most + 1)
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        zipfile.zlib.error,
    ):
        return b""


def unsafe(info):
    """Why a member of a zip file is not read; "" if it may be."""
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "The zip file names a place outside of itself: refused."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "The zip file holds a link instead of a file: refused."
    return "The zip file is encrypted: it was not read." if info.flag_bits & 1 else ""


def with_own_keys(found):
    """The same, sorted, with keys that are file names on every system, and each once."""
    plain = [
        re.sub(r"[^A-Za-z0-9_-]+", "_", one.key).strip("_-")[:100] or "unnamed" for one in found
    ]
    often = Counter(key.casefold() for key in plain)
    keys = [
        key if often[key.casefold()] == 1 else f"{key}-{digest(one.place)[:8]}"
        for key, one in zip(plain, found)
    ]
    once = {
        key: one._replace(key=key) for key, one in zip(keys, found)
    }  # a file that was named twice is one
    return [once[key] for key in sorted(once)]
