"""What a learner meets in a notebook, in a real Jupyter kernel: Stop, Restart, a dead kernel,
%%ranks, prints.

One kernel serves all tests of this file; the last ones restart it, kill it and shut it down.
"""

import os
import queue
import re
import signal
import time
from pathlib import Path

import pytest
from jupyter_client import KernelManager

from tests import census
from tests.deadlines import generous

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of Unix"),
]
ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 30  # seconds after which a cell of %%ranks ends by itself, if nobody says otherwise


class Notebook:
    """A kernel, driven as JupyterLab drives it. `cell` runs code and returns what the page would
    show.
    """

    def __init__(self, folder):
        self.folder, self.token = folder, census.new_token()
        (folder / "tmp").mkdir()
        env = {
            k: v for k, v in os.environ.items() if k not in ("PYTEST_CURRENT_TEST", "MINIDL_OUTPUT")
        }
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env |= {census.TOKEN: self.token, "TMPDIR": str(self.temporary), "PYTHONPATH": path}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env, cwd=str(folder))
        self.connect()

    @property
    def temporary(self):
        """Where the kernel puts temporary folders."""
        return self.folder / "tmp"

    def connect(self):
        """Make a client, and a world of three ranks to begin with."""
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=generous(60))
        self.cell(
            "import os, signal, threading, time\nimport torch\nimport minidl\nfrom minidl import *\nworld = World(3)"
        )

    def restart(self):
        """Restart as JupyterLab does, without waiting for a cell that runs."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.connect()

    def begin(self, code):
        """Send a cell; returns its number, for `end`."""
        self.stuck = True
        return self.client.execute(code, allow_stdin=False)

    def end(self, number, seconds=30, watch=lambda text: None):
        """Wait for a cell to be over; returns (its text, its error as "Name: words" or None)."""
        deadline = time.monotonic() + generous(seconds)
        text, error = "", None
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(
                    f"the cell is not over after {generous(seconds)} s; so far it wrote: {text}"
                )
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                text += content["text"]
                watch(text)
            elif kind == "execute_result":
                text += content["data"]["text/plain"] + "\n"
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
                text += "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                self.stuck = False
                return text, error

    def cell(self, code, seconds=30, fails=None):
        """Run a cell; returns its text. `fails` is the name of the error that it must end with."""
        text, error = self.end(self.begin(code), seconds)
        assert (error or "").split(":")[0] == (fails or ""), f"{error}\n{text}"
        return text

    def processes(self):
        """minidl's processes of this kernel."""
        return census.processes(self.token)

    def pids(self):
        """The ranks' process numbers."""
        return [
            int(word)
            for word in self.cell("print(*[rank.pid for rank in world._ranks.values()])").split()
        ]

    def mark(self, name):
        """A file by which a rank tells that it has come somewhere."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        return path

    def interrupt(self, number, mark):
        """Press Stop once `mark` exists; returns how long it took until the cell was over, and its
        text and error.
        """
        census.eventually(mark.exists, 20, f"a rank makes {mark}")
        began = time.monotonic()
        self.manager.interrupt_kernel()
        text, error = self.end(number)
        return time.monotonic() - began, text, error


@pytest.fixture
def notebook(kernel):
    """The kernel with an open world, whatever the test before did to it."""
    if kernel.stuck:
        kernel.restart()
    if kernel.cell("world.closed") != "False\n":
        kernel.cell("world = World(3)")
    return kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    started = Notebook(tmp_path_factory.mktemp("notebook"))
    yield started
    started.client.stop_channels()
    if started.manager.has_kernel:
        started.manager.shutdown_kernel(now=True)
    started.manager.cleanup_resources()


RING = "[run.results for run in [world.run(lambda comm: comm.exchange(torch.tensor(comm.rank), comm.right, comm.left).item())]]"


def works(notebook):
    """The world can be used."""
    assert notebook.cell(RING) == "[[2, 0, 1]]\n"


def plain(text):
    """A traceback without its colours."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


# ---- Stop ----------------------------------------------------------------------------------------

ENDLESS = {
    "a receive": "comm.recv(torch.zeros(1), source=(rank + 1) % 3) if rank else busy()",
    "a receive that minidl cannot see": "dist.recv(torch.zeros(1), src=(rank + 1) % 3)",
    "a loop": "busy()",
    "a loop that catches exceptions": "stubborn()",
    "a sleep": "time.sleep(1000)",
    "a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
}

HELPERS = """%%ranks
import time, threading
import torch
import torch.distributed as dist

def busy():
    while True:
        pass

def stubborn():
    while True:
        try:
            busy()
        except Exception:
            pass

kept = 10 * rank
"""


@pytest.mark.parametrize("what", ENDLESS)
def test_stop_ends_an_endless_cell_before_its_time_out_and_names_live_on(what, notebook):
    notebook.cell(HELPERS)
    pids, mark = notebook.pids(), notebook.mark("here")
    number = notebook.begin(
        f"%%ranks\nif rank == 2: open({str(mark)!r}, 'w').close()\n{ENDLESS[what]}"
    )
    seconds, text, error = notebook.interrupt(number, mark)
    assert error.startswith("KeyboardInterrupt"), f"{error}\n{text}"
    assert seconds < TIMEOUT, f"it took {seconds:.1f} s"
    works(notebook)
    if what != "a lock":  # nothing wakes a thread from a lock: those ranks are new
        assert notebook.pids() == pids
        assert notebook.cell('world.pull("kept")') == "[0, 10, 20]\n"


def test_stop_in_world_run(notebook):
    mark = notebook.mark("here")
    number = notebook.begin(f"""
def endless(path, comm):
    if comm.rank == 2:
        open(path, "w").close()
    while True:
        pass
world.run(endless, {str(mark)!r}, timeout=None)""")
    seconds, text, error = notebook.interrupt(number, mark)
    assert error.startswith("KeyboardInterrupt") and seconds < TIMEOUT, f"{seconds:.1f} s: {error}"
    works(notebook)


def test_stop_pressed_again_and_again(notebook):
    notebook.cell(HELPERS)
    mark = notebook.mark("here")
    number = notebook.begin(f"%%ranks\nif rank == 2: open({str(mark)!r}, 'w').close()\nbusy()")
    census.eventually(mark.exists, 20, "the cell runs")
    for _ in range(5):
        notebook.manager.interrupt_kernel()
    text, error = notebook.end(number)
    assert error.startswith("KeyboardInterrupt"), f"{error}\n{text}"
    works(notebook)
    assert notebook.cell('world.pull("kept")') == "[0, 10, 20]\n"


def endless_when_pressed(where):
    """A cell that presses Stop by itself, once, at the moment when minidl calls `where`."""
    return f"""
def press(*args, **kwargs):
    del {where}                     # the method of the class is there again
    signal.raise_signal(signal.SIGINT)
    return {where}(*args, **kwargs)
def endless(comm):
    while comm.rank == 0:
        pass
    comm.recv(torch.zeros(1), source=comm.left)
{where} = press
world.run(endless, timeout=1)"""


@pytest.mark.parametrize("where", ["world._ranks[1].send", "world._connect", "world._gather"])
def test_stop_at_a_bad_moment(where, notebook):
    """While the ranks are told what to run, while they join again, while their results are read."""
    began = time.monotonic()
    text, error = notebook.end(notebook.begin(endless_when_pressed(where)))
    assert error.split(":")[0] in ("KeyboardInterrupt", "RankTimeout"), f"{error}\n{text}"
    works(notebook)
    assert time.monotonic() - began < TIMEOUT


# ---- ranks that die ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, words",
    [
        ("os._exit(3)", "Rank 1 ended by itself with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Rank 1 died of SIGKILL"),
    ],
)
def test_a_rank_that_dies_is_told_and_replaced(how, words, notebook):
    text = notebook.cell(
        f"""
def one_dies(comm):
    import os, signal
    if comm.rank == 1:
        print("last words")
        {how}
    comm.barrier()
world.run(one_dies)""",
        fails="RankDied",
    )
    assert words in text and "last words" in text and "A new process now runs as rank 1" in text
    assert (
        re.search(r"rank [02] waits for rank \d to (send|receive) message", text)
        and "comm.barrier()" in text
    )
    works(notebook)


# ---- what cannot travel --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argument, words",
    [
        ("threading.Lock()", "argument 0 (lock)"),
        ("(i for i in range(3))", "argument 0 (generator)"),
        ("open('notes.txt', 'w')", "argument 0 (TextIOWrapper)"),
        ("x=threading.Lock()", "argument x (lock)"),
    ],
)
def test_an_argument_that_cannot_travel_is_named(argument, words, notebook):
    text = notebook.cell(f"world.run(lambda *args, **kwargs: None, {argument})", fails="TypeError")
    assert words in text and "cannot travel" in text
    works(notebook)


def test_a_variable_that_cannot_travel_is_named(notebook):
    text = notebook.cell(
        "my_lock = threading.Lock()\ndef use(comm):\n    return my_lock\nworld.run(use)",
        fails="TypeError",
    )
    assert "the variable my_lock (lock) named in use" in text


def test_a_captured_world_gets_the_sentence(notebook):
    text = notebook.cell(
        "def confused(comm):\n    return world.world_size\nworld.run(confused)", fails="TypeError"
    )
    assert (
        "a World cannot travel to its ranks" in text and "use `comm` there, not the world" in text
    )
    works(notebook)


def test_a_result_that_cannot_travel_is_told(notebook):
    text = notebook.cell(
        "def give(comm):\n    import threading\n    return threading.Lock()\nworld.run(give)",
        fails="RankError",
    )
    assert "the result, a lock, cannot travel back" in text
    works(notebook)


# ---- %%ranks -------------------------------------------------------------------------------------


def test_classes_of_a_cell_can_be_pulled(notebook):
    notebook.cell(
        "%%ranks\nclass Point:\n    def __init__(self, x):\n        self.x = x\n    def double(self):\n        return 2 * self.x\n"
        "point = Point(rank)"
    )
    assert notebook.cell('[p.double() for p in world.pull("point")]') == "[0, 2, 4]\n"
    assert (
        notebook.cell('world.push(ranks=[1], point=None)\nworld.pull("point", ranks=[1])')
        == "[None]\n"
    )


def test_pulling_a_name_that_is_not_there(notebook):
    assert "name 'nothing' is not defined" in notebook.cell(
        'world.pull("nothing")', fails="RankError"
    )


def test_a_cell_on_some_ranks_must_not_talk_to_others(notebook):
    text = notebook.cell(
        "%%ranks 0,2\nimport torch\ncomm.send(torch.zeros(1), to=1)", fails="NotInCell"
    )
    assert (
        "rank 1 is not in this cell: it runs on ranks 0, 2 only" in text
        and "comm.send(torch.zeros(1), to=1)" in text
    )
    works(notebook)


def test_a_syntax_error_in_a_cell_is_pythons_own(notebook):
    text = plain(notebook.cell("%%ranks\nx = 1\nif x\n    y = 2", fails="SyntaxError"))
    assert re.search(r"File In \[\d+\](:|, line )3\n\s+if x\n\s+\^\nSyntaxError", text), (
        "counted as the learner counts, the magic's line included"
    )
    works(notebook)


@pytest.mark.parametrize("line", ["!ls", "%time x = 1"])
def test_a_line_of_jupyters_own_is_explained(notebook, line):
    text = notebook.cell(f"%%ranks\n\nx = 1\n{line}", fails="RankError")
    assert "All ranks raised NameError" in text and "is a process without IPython" in text
    assert "line 4" in text
    works(notebook)


def test_display_in_a_cell_prints(notebook):
    text = notebook.cell("%%ranks 1\ndisplay([rank], 'two')")
    assert "1| [1]" in text and "1| 'two'" in text


def test_an_error_in_a_cell_names_its_line(notebook):
    text = notebook.cell("%%ranks\nx = 1\nif rank == 2:\n    x / 0", fails="RankError")
    assert "Rank 2 raised ZeroDivisionError" in text and "line 4" in text and "x / 0" in text


def test_prints_come_live(notebook):
    """Rank 2 prints, and goes on only after the page has shown it."""
    seen = notebook.mark("seen")
    number = notebook.begin(f"""%%ranks
import os, time
if rank == 2:
    print("first")
    deadline = time.monotonic() + 200
    while not os.path.exists({str(seen)!r}):
        assert time.monotonic() < deadline, "nobody saw it"
        time.sleep(0.005)
    print("second")""")
    text, error = notebook.end(number, watch=lambda text: "2| first\n" in text and seen.touch())
    assert error is None and text == "2| first\n2| second\n"


def test_prints_are_sorted_where_no_one_watches(notebook):
    """As under nbval: rank 0 prints last, and stands first."""
    text = notebook.cell("""
os.environ["PYTEST_CURRENT_TEST"] = "yes"
def chain(comm):
    if comm.rank < 2:
        comm.recv(torch.zeros(1), source=comm.rank + 1)
    print("rank", comm.rank, flush=True)
    if comm.rank > 0:
        comm.send(torch.zeros(1), to=comm.rank - 1)
run = world.run(chain)
del os.environ["PYTEST_CURRENT_TEST"]
run.output""")
    assert text == "0| rank 0\n1| rank 1\n2| rank 2\n'0| rank 0\\n1| rank 1\\n2| rank 2'\n"


# ---- the lives of a kernel -----------------------------------------------------------------------


def test_a_second_world_replaces_the_first(notebook):
    before = notebook.pids()
    folders = census.folders(notebook.temporary)
    notebook.cell("old, world = world, World(3)")
    assert notebook.cell("old.closed, world.closed") == "(True, False)\n"
    census.eventually(
        lambda: not {p.pid for p in notebook.processes()} & set(before),
        2,
        "the first world's processes are gone",
    )
    assert len(notebook.processes()) == 4, "the zygote and three ranks"
    assert len(census.folders(notebook.temporary)) == len(folders) == 2
    assert "closed" in notebook.cell("old.run(print)", fails="MinidlError")
    works(notebook)


def at_work(notebook):
    """Start an endless cell, so that the kernel has to end in the middle of it; returns the ports
    that are open.
    """
    mark = notebook.mark("here")
    notebook.begin(f"%%ranks\nopen({str(mark)!r}, 'w').close()\nwhile True: pass")
    census.eventually(mark.exists, 20, "the cell runs")
    addresses = census.ports(p.pid for p in notebook.processes())
    assert addresses
    return addresses


def test_restart_leaves_nothing(notebook):
    old, addresses = {p.pid for p in notebook.processes()}, at_work(notebook)
    folders = census.folders(notebook.temporary)
    notebook.restart()
    census.eventually(
        lambda: not old & {p.pid for p in notebook.processes()}, 3, "the processes are gone"
    )
    census.eventually(
        lambda: not set(folders) & set(census.folders(notebook.temporary)),
        3,
        "the folders are gone",
    )
    census.eventually(lambda: not census.still_open(addresses), 3, "the ports are closed")
    works(notebook)


def test_a_killed_kernel_leaves_nothing(notebook):
    addresses = at_work(notebook)
    os.kill(notebook.manager.provisioner.pid, signal.SIGKILL)
    census.gone(notebook.token, 3, notebook.temporary, addresses)
    notebook.restart()
    works(notebook)


def test_shutdown_leaves_nothing(notebook):
    addresses = census.ports(p.pid for p in notebook.processes())
    notebook.manager.shutdown_kernel()
    census.gone(notebook.token, 3, notebook.temporary, addresses)
