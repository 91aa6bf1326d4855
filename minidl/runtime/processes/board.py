"""What has every rank posted? A board in shared memory, written by each rank, read by all.

    rank 0 | header | channel directory: (key, count) ... | a ring of descriptors for each |
    rank 1 | ...

A channel is one direction between two ranks on one communicator: "my sends to rank 2 on world".
Before a rank posts its k-th message there, it writes a descriptor of message k (shape, dtype, line)
and then the count k + 1. Its peer does the same, and each reads the other's descriptor *after*
writing its own: whoever writes second sees a mismatch before any data moves. The writes and reads
are separated by taking a lock, which is a full fence on x86 and orders them on ARM.
Left out: what the descriptors mean (guard.py) and who waits for whom (deadlock.py).
"""

import itertools
import mmap
import os
import struct
import time
from functools import lru_cache
from typing import NamedTuple

DEPTH = 512  # descriptors kept per channel: as many messages may be under way at once
CHANNELS = 1024  # channels per rank
TEXT = 176  # bytes of what a descriptor says
DESCRIPTOR = struct.Struct(f"=qq{TEXT}s")  # number + 1, nanoseconds, text
NBYTES = DESCRIPTOR.size
CELLS = NBYTES // 8  # 8-byte cells of a descriptor

VERSION, N_CHANNELS, DIRECTORY = 0, 1, 8
RINGS = DIRECTORY + 2 * CHANNELS
STRIDE = RINGS + CHANNELS * DEPTH * CELLS


class Entry(NamedTuple):
    """A message that a rank has posted: its description, the (file, line) that posted it, when."""

    words: str
    place: tuple
    nanoseconds: int


class Post(NamedTuple):
    """What a wait may need: message `number` on the channel `key` of `rank`."""

    rank: int
    key: int
    number: int


@lru_cache(4096)  # the same lines post the same sizes again and again
def as_text(words, place):
    """What a descriptor says. Of a file's name that is too long, the end is kept."""
    file, line = place
    text = f"{words}\n{line}\n".encode()[:TEXT]
    name = os.fsencode(file)
    too_long = max(0, len(text) + len(name) - TEXT)
    return text + name[too_long:]


@lru_cache(4096)
def from_text(text):
    """(words, place) of what a descriptor says."""
    words, line, file = text.rstrip(b"\0").split(b"\n", 2)
    return words.decode(), (os.fsdecode(file), int(line))


class BoardChannel:
    """One channel of one rank, found on the board once and for all: its count, and its ring of
    descriptors.
    """

    __slots__ = ("board", "cell", "start", "version")

    def __init__(self, board, rank, cell):
        """cell: where its count is, in the directory of `rank`."""
        part = rank * STRIDE  # the first cell of this rank's part of the board
        self.board = board
        self.cell = cell
        self.version = part + VERSION
        index = (cell - part - DIRECTORY - 1) // 2
        self.start = 8 * (part + RINGS + index * DEPTH * CELLS)  # in bytes

    def count(self):
        """How many messages its rank has posted here."""
        return self.board.cells[self.cell]

    def post(self, number, words, place, nanoseconds=0):
        """Publish the next message, which has this number. By the rank itself, one thread at a
        time.

        words: its description; place: (file, line); nanoseconds: of the run, when it is posted.
        """
        board = self.board
        start = self.start + number % DEPTH * NBYTES
        DESCRIPTOR.pack_into(board.map, start, number + 1, nanoseconds, as_text(words, place))
        cells = board.cells
        cells[self.cell] = number + 1
        cells[self.version] = next(board.versions)

    def read(self, number):
        """The Entry of a message; None if it is not posted or not kept."""
        if not number < self.board.cells[self.cell] <= number + DEPTH:
            return None
        start = self.start + number % DEPTH * NBYTES
        check, nanoseconds, text = DESCRIPTOR.unpack_from(self.board.map, start)
        if check != number + 1:
            return None
        words, place = from_text(text)
        return Entry(words, place, nanoseconds)


class Board:
    """One mapping of the board's file. A rank writes only its part; the world resets all parts."""

    def __init__(self, path, world_size, create=False):
        nbytes = world_size * STRIDE * 8
        with open(path, "wb" if create else "r+b") as file:
            if create:
                file.truncate(nbytes)  # sparse: only touched pages take room
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), nbytes)
        self.cells = memoryview(self.map).cast("q")
        self.world_size = world_size
        self.versions = itertools.count(
            time.monotonic_ns()
        )  # each value is written once only, also by a successor
        self.forget()

    def close(self):
        """Unmap the file."""
        self.cells.release()
        self.map.close()

    def reset(self):
        """Forget all channels: a new run begins. Only while no rank runs."""
        for rank in range(self.world_size):
            self.cells[rank * STRIDE + N_CHANNELS] = 0
        self.forget()

    def forget(self):
        """Drop what this process remembers of the channels of the run before."""
        self._found = [{} for _ in range(self.world_size)]  # per rank: key -> BoardChannel
        self._scanned = [0] * self.world_size

    def version(self, rank):
        """Another number than before whenever `rank` has posted, blocked or gone on in between."""
        return self.cells[rank * STRIDE + VERSION]

    def bump(self, rank):
        """Tell that `rank` changed. Needs no lock: every number is taken once."""
        self.cells[rank * STRIDE + VERSION] = next(self.versions)

    def find(self, rank, key):
        """The BoardChannel `key` of `rank`, or None while it has none."""
        found = self._found[rank]
        if key in found:
            return found[key]
        base = rank * STRIDE
        for i in range(self._scanned[rank], self.cells[base + N_CHANNELS]):
            cell = base + DIRECTORY + 2 * i
            found[self.cells[cell]] = BoardChannel(self, rank, cell + 1)
            self._scanned[rank] = i + 1
        return found.get(key)

    def count(self, rank, key):
        """How many messages `rank` has posted on channel `key`."""
        channel = self.find(rank, key)
        return 0 if channel is None else channel.count()

    def has_any(self, posts):
        """Whether any of these Posts has been made."""
        return any(self.count(rank, key) > number for rank, key, number in posts)

    def open(self, rank, key):
        """The BoardChannel `key` of this process's own rank, made if there is none. Raises
        ValueError for too many.
        """
        channel = self.find(rank, key)
        if channel is not None:
            return channel
        base = rank * STRIDE
        i = self.cells[base + N_CHANNELS]
        if i == CHANNELS:
            raise ValueError(
                f"rank {rank} uses more than {CHANNELS} channels "
                "(ranks x groups x directions) in one run"
            )
        self.cells[base + DIRECTORY + 2 * i] = key
        self.cells[base + DIRECTORY + 2 * i + 1] = 0
        self.cells[base + N_CHANNELS] = i + 1
        return self.find(rank, key)
