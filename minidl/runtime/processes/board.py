"""What has every rank posted? A board in shared memory, written by each rank, read by all.

    rank 0 | header | files | channel directory: (key, count) ... | a ring of descriptors for each |
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

DEPTH = 512  # descriptors kept per channel: as many messages may be under way at once
CHANNELS = 1024  # channels per rank
CELLS = 8  # 8-byte cells of a descriptor
FILES, FILE_CELLS = 64, 32  # source files that a rank can name, and the room for each name

VERSION, N_CHANNELS, HEADER = 0, 1, 8
DIRECTORY = HEADER + FILES * FILE_CELLS
RINGS = DIRECTORY + 2 * CHANNELS
STRIDE = RINGS + CHANNELS * DEPTH * CELLS
DESCRIPTOR = struct.Struct(f"={CELLS}q")
NBYTES = DESCRIPTOR.size


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

    def post(self, number, description, place, nanoseconds=0):
        """Publish the next message, which has this number. By the rank itself, one thread at a
        time.

        description: five integers; place: an integer; nanoseconds: of the run, when it is posted.
        """
        board = self.board
        start = self.start + number % DEPTH * NBYTES
        DESCRIPTOR.pack_into(board.map, start, number + 1, *description, place, nanoseconds)
        cells = board.cells
        cells[self.cell] = number + 1
        cells[self.version] = next(board.versions)

    def read(self, number):
        """(check, *description, place, nanoseconds) of a message; None if it is not there."""
        if not number < self.board.cells[self.cell] <= number + DEPTH:
            return None
        descriptor = DESCRIPTOR.unpack_from(self.board.map, self.start + number % DEPTH * NBYTES)
        return descriptor if descriptor[0] == number + 1 else None


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
        self._found = [{} for _ in range(world_size)]  # per rank: key -> BoardChannel
        self._scanned = [0] * world_size
        self._file_index = {}

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
        self._found = [{} for _ in range(self.world_size)]
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
        """Whether any of these posts, (rank, key, number) each, has been made."""
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

    def file_index(self, rank, name):
        """The index under which other processes find this file's name."""
        index = self._file_index.get(name)
        if index is None:
            index = min(len(self._file_index), FILES - 1)
            start = (rank * STRIDE + HEADER + index * FILE_CELLS) * 8
            text = os.fsencode(name)[-FILE_CELLS * 8 + 1 :]
            self.map[start : start + FILE_CELLS * 8] = text.ljust(FILE_CELLS * 8, b"\0")
            self._file_index[name] = index
        return index

    def file_name(self, rank, index):
        """The name that `rank` gave to file `index`."""
        start = (rank * STRIDE + HEADER + index * FILE_CELLS) * 8
        return os.fsdecode(self.map[start : start + FILE_CELLS * 8].rstrip(b"\0"))
