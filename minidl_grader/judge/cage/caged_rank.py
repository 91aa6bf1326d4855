"""A caged rank: executes the notebook's cells, and calls an answer by its name when it is asked to.

    cells  -->  noted: what each holds, or why it cannot be executed
    run    -->  all cells anew, answer(comm, ...)  -->  done: result, inputs afterwards | failed

Every call starts from fresh names, as in a run on virtual ranks. The judge trusts nothing here: the
learner's code can change all of it, and harms only itself.
"""

import faulthandler
import gc
import importlib
import linecache
import os
import pickle
import re
import signal
import socket
import sys
import types

import torch
import torch._dynamo  # noqa: F401  the first optimizer loads it, which a locked-in rank cannot

import minidl.collectives
import minidl.parallel
import minidl.zoo  # noqa: F401  setup cells import these: loaded once, not in every rank
from minidl.check.arena import observed, observed_on_a_meter
from minidl.runtime.comms.seeding import seed_everything
from minidl.runtime.processes.streams import LineStream
from minidl.runtime.words.calling import traceback_lines
from minidl_grader.judge.cage.caged_comm import CagedComm
from minidl_grader.judge.cage.caged_metering import written
from minidl_grader.judge.cage.channel import Channel, Closed
from minidl_grader.judge.cage.codec import Function, Packed
from minidl_grader.judge.cage.jobs import Lanes
from minidl_grader.judge.cage.line import Over, Side

MOST_LINES = 200  # of what a call prints
LONGEST_LINE = 400
MOST_FRAMES = 20  # of a traceback
LONGEST_MESSAGE = 4000


def live_as_rank(connection, door, stacks, words):
    """Be a rank until the judge is gone.

    connection, door  sockets, as descriptors: the main thread's, and the one that brings lanes
    stacks            a pipe to write to;  words: the locks in force, in phrases
    """
    os.set_blocking(stacks, False)
    faulthandler.enable(stacks)  # a crash in C code leaves its Python lines there
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    torch.set_num_threads(1)
    lanes = Lanes(socket.socket(fileno=door), describe)
    rank = CagedRank(Channel(socket.socket(fileno=connection)), lanes)
    try:
        rank.channel.send(["ready", words])
        rank.serve()
    except Closed:
        return


class Printed(LineStream):
    """What a call prints: the first lines, and how many there were."""

    def __init__(self):
        super().__init__(self.keep)
        self.lines = []
        self.count = 0

    def keep(self, text):
        """Note these lines."""
        self.count += text.count("\n") + 1
        room = MOST_LINES - len(self.lines)
        if room > 0:  # a function may print a million lines
            self.lines += [line[:LONGEST_LINE] for line in text.split("\n")[:room]]


class CagedRank:
    """This process, as it sees itself."""

    def __init__(self, channel, lanes):
        self.channel = channel
        self.lanes = lanes
        self.cells = []  # (name, source, code or None)
        self.learner = ""
        self.errors = {}  # name of a cell: why it could not be executed
        self.printed = Printed()

    def serve(self):
        """Do what the judge asks until it is gone."""
        requests = {"cells": self.learn, "try": self.attempt, "run": self.run}
        while True:
            request, *args = self.channel.receive()
            requests[request](*args)

    def learn(self, learner, cells):
        """Take over the cells: (name, source, why it must not be executed or "") each, in order."""
        self.learner = learner
        self.cells = []
        self.errors = {}
        for name, source, refused in cells:
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            code = None
            try:
                if refused:
                    raise RuntimeError(refused)
                code = compile(source, name, "exec", dont_inherit=True)
            except Exception as error:
                self.errors[name] = describe(error, name)
            self.cells.append((name, source, code))

    def attempt(self):
        """Execute all cells, telling before each which one it is."""
        self.namespace(before=lambda name: self.channel.send(["cell", name]))
        self.channel.send(["tried", list(map(list, self.errors.items()))])

    def namespace(self, before=None):
        """A fresh main module in which all cells have been executed, as far as they could be."""
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        names = module.__dict__
        names["learner"] = self.learner
        for name, _, code in self.cells:
            if before is not None:
                before(name)
            if code is None:
                continue
            try:
                exec(code, names)
            except BaseException as error:
                self.errors[name] = describe(error)
        return names

    def run(self, rank, world_size, answer, args, seed, metering):
        """Call an answer as one rank of `world_size`.

        metering  None, or [do FLOPs take time?, is there room for every message?]
        """
        self.printed = sys.stdout = sys.stderr = Printed()
        side = Side(self.channel, self.lanes, rank, world_size, metering)
        line = side.line()
        try:
            seed_everything(seed, rank)
            names = self.namespace()
            seed_everything(seed, rank)
            fn = self.look_up(answer, names)
            args = self.known(args, names)
            if side.meter is not None:
                gc.disable()  # as on virtual ranks: what is held must not depend on its moment
            with side.metered():
                result, after = self.observed(side, fn, args)
            self.end(line, "done", result, after, side.meter and written(*side.meter.read()))
        except Over:
            line.pending = []
            line.tell(["over"])
        except Missing as missing:
            self.end(line, "failed", *missing.description)
        except BaseException as error:
            self.end(line, "failed", *describe(error))
        finally:
            gc.enable()

    def observed(self, side, fn, args):
        """What the answer returns, and its arguments afterwards."""
        comm = CagedComm(side, range(side.world_size))
        if side.meter is None:
            return observed(fn, args, comm)
        out = observed_on_a_meter(fn, args, comm)
        side.line().ask("finish")
        side.jobs.clear()
        return out

    def end(self, line, kind, *what):
        """Tell the judge how the call ended, and what was printed."""
        self.printed.end()
        printed = [self.printed.lines, self.printed.count]
        try:
            line.tell([kind, *what, printed])
        except TypeError as error:
            why = f"the result cannot travel back from the rank: {error}"
            line.tell(["failed", "TypeError", why, [], printed])

    def look_up(self, name, names):
        """The function of this name; raises Missing with the reason why there is none."""
        if name in names:
            return names[name]
        word = re.escape(name)
        defines = re.compile(rf"\b(def|class)\s+{word}\b|^{word}\b", re.M)
        for cell, source, _ in reversed(self.cells):
            if cell in self.errors and defines.search(source):
                raise Missing(self.errors[cell])
        message = (
            f"there is no {name}: its own answer cell must define it. "
            "Cells that you added do not count."
        )
        raise Missing(["NameError", message, []])

    def known(self, value, names):
        """`value` with the functions that it names."""
        if isinstance(value, Function):
            module, _, name = value.name.rpartition(":")
            if not module:
                return self.look_up(name, names)
            return getattr(importlib.import_module(module), name)
        if isinstance(value, Packed):
            return pickle.loads(value.data)  # from the judge, which a rank trusts
        if isinstance(value, (list, tuple)):
            return type(value)(self.known(item, names) for item in value)
        if isinstance(value, dict):
            return {key: self.known(item, names) for key, item in value.items()}
        return value


class Missing(Exception):
    """An answer is not there. description: as of describe()."""

    def __init__(self, description):
        super().__init__()
        self.description = description


def describe(error, cell=None):
    """[type, message, lines] of an exception, each of bounded length."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be read)"
    lines = [list(line) for line in traceback_lines(error.__traceback__)][-MOST_FRAMES:]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        lines.append([error.filename, error.lineno, "<module>"])
        message = error.msg
    elif isinstance(error, NameError) and cell is None:
        message += (
            ". Cells that you added do not count: put what your answer needs into its own cell"
        )
    refused = isinstance(error, RuntimeError) and "can't allocate memory" in message
    if refused or isinstance(error, MemoryError):
        return ["MemoryError", "more memory than a rank may have", lines]
    return [type(error).__name__, message[:LONGEST_MESSAGE], lines]
