"""However a program with a World ends, nothing of it stays: no process, no folder, no open port.

Each case is a script (or a pytest) of its own, with its own folder for temporary files. It says
through a
named pipe that its ranks are at work; then it is killed, or ends by itself.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import census
from tests.deadlines import generous

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="named pipes and signals of Unix"),
]
ROOT = Path(__file__).resolve().parents[2]

BEGIN = """
import os, signal, sys, threading
from minidl import MinidlError, World

def say(word):
    with open({pipe!r}, "w") as pipe:
        pipe.write(word + "\\n")

def endless(comm):
    comm.barrier()
    if comm.rank == 0:
        say("ready")
    while True:
        pass

def rank(comm):
    return comm.rank

def during(world, act, *args):
    # do something as soon as the world is at work, from another thread
    def wait():
        while not world._busy:
            pass
        act(*args)
    threading.Thread(target=wait, daemon=True).start()
"""


class Script:
    """A Python program under way, with a token of its own, a folder for its temporary files, and a
    pipe to hear from it.
    """

    def __init__(self, folder, code, *arguments, **environment):
        self.folder, self.token = folder / "tmp", census.new_token()
        self.folder.mkdir()
        pipe = folder / "pipe"
        os.mkfifo(pipe)
        self.pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        file = folder / "test_script.py"
        file.write_text(BEGIN.format(pipe=str(pipe)) + code)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [sys.executable, *arguments, str(file)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={
                **os.environ,
                census.TOKEN: self.token,
                "TMPDIR": str(self.folder),
                "PYTHONPATH": path,
                **environment,
            },
        )

    def words(self):
        """What it wrote to its output."""
        self.log.seek(0)
        return self.log.read()

    def hears(self, word, seconds=60):
        """Wait until the script says this word."""

        def said():
            assert self.process.poll() is None, (
                f"the script ended before it said {word!r}:\n{self.words()}"
            )
            ready, _, _ = select.select([self.pipe], [], [], 0.05)
            return ready and os.read(self.pipe, 1000)

        said_words = census.eventually(said, seconds, f"the script says {word!r}")
        assert said_words.decode().strip() == word, said_words

    def ports(self):
        """The sockets on which its ranks listen."""
        return census.ports(p.pid for p in census.processes(self.token))

    def ends(self, status, addresses=(), seconds=3):
        """It has ended with this exit status, and left nothing."""
        assert self.process.wait(generous(30)) == status, self.words()
        census.gone(self.token, seconds, self.folder, addresses)

    def close(self):
        """End it, whatever came of the test."""
        self.process.kill()
        self.process.wait(generous(10))
        os.close(self.pipe)
        self.log.close()


@pytest.fixture
def script(tmp_path):
    """start(code, *arguments of Python) -> a Script; ended after the test."""
    started = []

    def start(code, *arguments, **environment):
        started.append(Script(tmp_path, code, *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_the_census_sees_a_world_at_work_and_only_the_loopback_is_open(script):
    running = script("World(2).run(endless)")
    running.hears("ready")
    commands = [p.command for p in census.processes(running.token)]
    assert len(commands) == 3, f"a zygote and two ranks, not {commands}"
    assert len(census.folders(running.folder)) == 2, "one of the zygote, one of the world in it"
    addresses = running.ports()
    assert addresses and {address for address, _ in addresses} <= {"127.0.0.1", "::1"}
    assert census.still_open(addresses) == addresses
    running.process.kill()
    running.ends(-signal.SIGKILL, addresses)


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".")
TEST = """
def test_endless():
    World(2).run(endless)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_pytest_leaves_nothing(number, script):
    running = script(TEST, *PYTEST)
    running.hears("ready")
    addresses = running.ports()
    running.process.send_signal(number)
    running.ends(-number, addresses)


def test_an_interrupted_script_leaves_nothing(script):
    running = script("World(2).run(endless)")
    running.hears("ready")
    addresses = running.ports()
    running.process.send_signal(signal.SIGINT)
    running.ends(-signal.SIGINT, addresses)
    assert "KeyboardInterrupt" in running.words()


ENDINGS = {
    "exception, many worlds, none closed": (
        """
for n in (1, 2, 3, 2, 1):
    world = World(n)
    assert world.run(rank).results == list(range(n))
1 / 0""",
        1,
    ),
    "sys.exit during a run": (
        """
world, at_work = World(2), threading.Event()
threading.Thread(target=world.run, args=(endless,), daemon=True).start()
during(world, at_work.set)
assert at_work.wait(300)
sys.exit(3)""",
        3,
    ),
    "os._exit during a run": (
        "world = World(2)\nduring(world, os._exit, 5)\nworld.run(endless)",
        5,
    ),
    "a fork that ends first": (
        """
world = World(2)
child = os.fork()
if child == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert world.run(rank).results == [0, 1]         # the child's exit closed nothing of its parent's
""",
        0,
    ),
    "the zygote killed": (
        """
world = World(2)
os.kill(world._launcher.process.pid, signal.SIGKILL)
try:
    world.run(rank)
except MinidlError as error:
    assert "Make a new World" in str(error), error
else:
    raise AssertionError("no error")
assert World(2).run(rank).results == [0, 1]""",
        0,
    ),
    "spawned": (
        """
world = World(2, start="spawn")
assert world.run(rank).results == [0, 1]""",
        0,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_script_that_ends_by_itself_leaves_nothing(ending, script):
    code, status = ENDINGS[ending]
    script(code).ends(status)


def test_spawned_ranks_end_with_a_killed_script(script):
    running = script("""
if __name__ == "__main__":
    World(2, start="spawn").run(endless)""")
    running.hears("ready")
    addresses = running.ports()
    running.process.kill()
    assert running.process.wait(generous(10)) == -signal.SIGKILL
    left = census.eventually_empty(lambda: census.processes(running.token), 3)
    assert not left and not census.still_open(addresses), left


def test_the_census_finds_what_is_left_behind(script):
    """The judge is judged: an orphan, a folder and an open port are seen."""
    running = script("""
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; name = 'minidl.runtime'; time.sleep(600)"])
say("ready")
threading.Event().wait(600)""")
    running.hears("ready")
    (process,) = census.eventually(
        lambda: census.processes(running.token), 10, "the process is seen"
    )
    assert not census.strays(running.token), "its parent lives"
    running.process.kill()
    running.process.wait(generous(10))
    census.eventually(
        lambda: any("orphan" in line for line in census.strays(running.token)),
        3,
        "it is an orphan now",
    )
    os.kill(process.pid, signal.SIGKILL)
    census.gone(running.token)
    (running.folder / "minidl-x" / "world-y").mkdir(parents=True)
    assert len(census.folders(running.folder)) == 2
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert census.still_open([address]) == {address}
    assert not census.still_open([address])
