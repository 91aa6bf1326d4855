"""Hostile and broken submissions: each gets the right score and a sentence, and the one beside it
is untouched.

All of them are handed in at once, as to an instructor, and graded by the real judge in its cage.
What is tried in vain
stands before a right answer: it must neither help nor harm. Every submission answers its second
task rightly.
"""

import os
import sys
from pathlib import Path

import pytest

from minidl_grader.inbox import handed_in
from minidl_grader.inbox.score import Course, Grading, Settings, earned
from minidl_grader.judge.confine import Limits
from tests import census
from tests.minidl_grader import sample

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the cage is Linux's"),
]
RIGHT, MARK = sample.RIGHT["90-shift"], "hostile-mark"


def tried(*lines, error="OSError"):
    """Code that tries something, and then answers rightly."""
    return "\n".join(
        [
            "    import os, sys, torch",
            "    try:",
            *(f"        {line}" for line in lines),
            f"    except {error}:",
            "        pass",
            f"    {RIGHT}",
        ]
    )


def instead(*lines):
    """Code in place of an answer."""
    return "\n".join(["    import os, sys, torch", *(f"    {line}" for line in lines)])


#            name: (body of the answer, points of six, words in what is told)
HOSTILE = {
    "endless loop": (instead("while True: pass"), 0, "did not come to an end"),
    "deadlock": (
        instead("return comm.recv(x, source=comm.left)"),
        0,
        "Deadlock: rank 0 waits for rank 1",
    ),
    "exit": (instead("os._exit(0)"), 0, "exit code 0"),
    "killed by itself": (instead("os.kill(os.getpid(), 9)", "return x"), 0, ""),
    "crash in C": (instead("import ctypes; ctypes.string_at(0)"), 0, "SIGSEGV"),
    "raises": (instead("raise KeyError('mine')"), 0, "KeyError: 'mine'"),
    "kills siblings and parent": (
        tried("[os.kill(pid, 9) for pid in [os.getppid(), *range(1, 400)] if pid != os.getpid()]"),
        6,
        "",
    ),
    "many processes": (tried("[os.fork() or os._exit(0) for _ in range(3000)]"), 6, ""),
    "ten gigabytes": (
        instead("torch.empty(10 ** 10, dtype=torch.uint8).fill_(1)", "return x"),
        0,
        "memory",
    ),
    "a million lines": (
        tried("[print(i) for i in range(10 ** 6 if comm.rank == 0 else 0)]"),
        6,
        "",
    ),
    "noisy": (tried("print('a warning', file=sys.stderr)"), 6, ""),
    "patched grading": (
        instead(
            "import minidl.check.demands as d",
            "d.Demand.look = d.Values.look = lambda *_: d.Sight(True, '', '')",
            "return x",
        ),
        0,
        "element",
    ),
    "patched comm": (instead("type(comm).start = lambda *_: None", "return x"), 0, ""),
    "tracing and modules": (
        instead(
            "sys.settrace(lambda *_: None)",
            "sys.modules['minidl.check.contract'] = sys.modules['torch']",
            "return x",
        ),
        0,
        "element",
    ),
    "a pickle that runs code": (
        instead(
            f"return type('Evil', (), dict(__reduce__=lambda self: (open, ('{MARK}', 'w'))))()"
        ),
        0,
        "cannot travel back",
    ),
    "reads the solutions": (tried("sys.exit(open(SOLUTIONS).read())"), 6, ""),
    "reads another submission": (tried("sys.exit(open(OTHER).read())"), 6, ""),
    "looks for anything": (
        tried(
            "[sys.exit(n) for d in ('/tmp', '/home', '/root', '/work') for _, _, names in os.walk(d) for n in names if n.endswith('.ipynb')]"
        ),
        6,
        "",
    ),
    "writes outside": (
        tried(
            f"open('/tmp/{MARK}', 'w').write('x')",
            f"open(os.path.expanduser('~/{MARK}'), 'w').write('x')",
        ),
        6,
        "",
    ),
    "a socket to the outside": (
        tried(
            "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
            "sys.exit('connected')",
        ),
        6,
        "",
    ),
    "garbage to the judge": (
        instead("[os.write(fd, b'garbage' * 64) for fd in range(3, 40)]", "return x"),
        0,
        "",
    ),
    "a huge result": (instead("return [x] * 10 ** 6"), 0, ""),
    "two messages for one": (tried("comm.exchange(x, to=comm.right, source=comm.left)"), 3, ""),
}
CELLS = {  # what stands around the answer's function, at the top of its cell
    "a cell that does not end": ("while True: pass\n", "", 0, "did not come to an end"),
    "a cell that exits": ("import os; os._exit(1)\n", "", 0, "exit"),
    "a cell that does not parse": ("def def\n", "", 0, "SyntaxError"),
    "a cell that needs another": ("helper\n", "", 0, "Cells that you added do not count"),
    "its own check": ("", "\ndef check(*_):\n    return check\nagain = student = check", 6, ""),
}


def handed(name, folder, paths):
    """The submission of this name, in its folder."""
    body, before, after = (
        (HOSTILE[name][0], "", "") if name in HOSTILE else (f"    {RIGHT}", *CELLS[name][:2])
    )
    for word, path in paths.items():
        body = body.replace(word, repr(str(path)))
    notebook = sample.submission(name, shift=body, twice=True)
    cell = sample.find(notebook, "answer", "90-shift")
    cell.source = before + cell.source + after
    (folder / f"{name}.ipynb").write_bytes(sample.data(notebook))


def nobody_is_left():
    """No judge, no caged rank and no keeper is there any more."""

    def graders():
        return [
            process
            for process in census.processes(os.environ[census.TOKEN])
            if "minidl_grader" in process.command
        ]

    assert not census.eventually_empty(graders, seconds=5)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Everything that was handed in, graded."""
    top = tmp_path_factory.mktemp("class")
    solutions, _ = sample.course(top / "course")
    inbox = top / "inbox"
    inbox.mkdir()
    paths = {"SOLUTIONS": solutions / "90_sample.ipynb", "OTHER": inbox / "a right one.ipynb"}
    for name in [*HOSTILE, *CELLS]:
        handed(name, inbox, paths)
    right = sample.data(sample.submission("Ada", shift=True, twice=True))
    (inbox / "a right one.ipynb").write_bytes(right)
    (inbox / "zz right, last, from Windows.ipynb").write_bytes(
        b"\xef\xbb\xbf" + right.replace(b"\\n", b"\\r\\n").replace(b"\n", b"\r\n")
    )
    grading = Grading(
        Course(solutions),
        top / "out",
        Settings(
            jobs=2,
            shown=False,
            solutions=solutions,
            judge=Limits(wall=300, cpu=300, processes=200),
        ),
    )
    return grading.run(handed_in.find([inbox]))


@pytest.mark.parametrize("name", [*HOSTILE, *CELLS])
def test_it_gets_the_right_score_and_a_sentence(results, name):
    points, words = HOSTILE[name][1:] if name in HOSTILE else CELLS[name][2:]
    result = next(result for result in results.values() if result["learner"] == name)
    shift, twice = result["tasks"]
    assert not result["problem"] and shift["earned"] == points and twice["earned"] == 4, result
    told = shift["message"] + " ".join(demand["counted"] for demand in shift["demands"])
    assert words in told, told


def test_the_others_are_untouched(results):
    assert [earned(result) for result in results.values() if result["learner"] == "Ada"] == [
        (10, 10)
    ] * 2


def test_nothing_was_written_and_nobody_is_left(results):
    assert not [
        path for path in (Path("/tmp") / MARK, Path.home() / MARK, Path(MARK)) if path.exists()
    ]
    nobody_is_left()


def test_the_isolation_in_force_is_told(results):
    for result in results.values():
        assert result["isolation"], result["learner"]


KERNELS = {  # what a cell does to the kernel in which the notebook runs
    "ends the kernel": "import os; os._exit(0)\n",
    "kills its parent": "import os; os.kill(os.getppid(), 9)\n",
    "forks and stays": "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\n",
}


def test_what_is_done_to_the_kernel_costs_no_point_and_leaves_nobody(tmp_path):
    solutions, _ = sample.course(tmp_path / "course")
    (tmp_path / "inbox").mkdir()
    for name, lines in KERNELS.items():
        notebook = sample.submission(name, shift=True, twice=True)
        notebook.cells.insert(
            1, sample.v4.new_code_cell(lines)
        )  # an added cell, which nobody executes
        answer = sample.find(notebook, "answer", "90-twice")
        answer.source = (
            "import sys\nif 'ipykernel' in sys.modules:\n"
            + "".join(f"    {line}\n" for line in lines.splitlines())
            + answer.source
        )
        (tmp_path / "inbox" / f"{name}.ipynb").write_bytes(sample.data(notebook))
    (tmp_path / "inbox" / "right.ipynb").write_bytes(
        sample.data(sample.submission("Ada", shift=True, twice=True))
    )
    grading = Grading(
        Course(solutions),
        tmp_path / "out",
        Settings(jobs=2, solutions=solutions, kernel=Limits(wall=100, processes=60)),
    )
    found = grading.run(handed_in.find([tmp_path / "inbox"]))
    assert {result["learner"]: earned(result)[0] for result in found.values()} == {
        **dict.fromkeys(KERNELS, 10),
        "Ada": 10,
    }
    assert all("10 of" not in result["notebook"] for result in found.values()) and all(
        result["notebook"] for result in found.values()
    )
    nobody_is_left()
