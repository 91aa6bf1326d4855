"""How long does a submission take, and how many impostors would a check of values have passed?

    python benchmarks/grading.py     200 submissions: finished ones, stubs, mutants of the museum,
                                     hostile ones

Two submissions at once. The first 40 are run as notebooks, too, as `minidl grade` does; of the
others only the judge is asked.
"""

import importlib
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rounds import publish, spread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nbformat  # noqa: E402

from minidl_grader.course.cells import SOLUTIONS, answers, masters, read_master, with_role  # noqa: E402
from minidl_grader.inbox import handed_in  # noqa: E402
from minidl_grader.inbox.score import Course, Grading, Settings  # noqa: E402
from tests import census  # noqa: E402

ALL = 200
SHOWN = 40
HOSTILE = (
    "while True: pass",
    "import os; os._exit(1)",
    "raise SystemExit",
    "return bytearray(10 ** 10)",
    "print('x' * 10 ** 7); return x",
)


def museum():
    """{number: [Mutant, ...]} of every exercise."""
    return {
        path.name[:2]: importlib.import_module(f"tests.check.museum_{path.name[:2]}").MUTANTS
        for path in masters()
    }


def with_answer(master, name, task="", answer=""):
    """The solutions as somebody hands them in, with one answer replaced."""
    notebook = nbformat.from_dict(master)  # a copy
    with_role(notebook, "name")[0].source = f"learner = {name!r}"
    if task:
        answers(notebook)[task].source = answer
    return nbformat.writes(notebook)


def submissions(folder):
    """Write 200 mixed submissions, shuffled: all mutants, or a sample of them, and the rest."""
    found = []  # (name, text)
    for path in masters():
        master = read_master(path)
        number = path.name[:2]
        for i, mutant in enumerate(museum()[number]):
            text = with_answer(master, f"m{i}", mutant.task, mutant.answer)
            found.append((f"mutant {number} {i}", text))
        for i in range(20):
            found.append((f"finished {number} {i}", with_answer(master, f"f{i}")))
        first, cell = next(iter(answers(master).items()))
        head = cell.source.split("\n")[0]
        for i, line in enumerate(HOSTILE):
            text = with_answer(master, f"h{i}", first, f"{head}\n    {line}\n")
            found.append((f"hostile {number} {i}", text))
    chosen = random.Random(0).sample(found, min(ALL, len(found)))
    for name, text in chosen:
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return len(chosen)


def grade(folder, out, shown):
    """Grade a folder, two submissions at once; returns (wall seconds, seconds, CPU seconds).

    The last two are lists, of each submission. CPU seconds depend less on what else runs.
    """
    grading = Grading(Course(SOLUTIONS), out, Settings(jobs=2, shown=shown))
    began = time.monotonic()
    results = grading.run(handed_in.find([folder]))
    wall = time.monotonic() - began
    seconds = [sum(result["seconds"].values()) for result in results.values()]
    cpu = [sum(result["cpu_seconds"].values()) for result in results.values()]
    return wall, seconds, cpu


def row(what, wall, seconds, cpu):
    """A row of the table."""
    return [what, len(seconds), spread(seconds), spread(cpu), f"{wall / len(seconds):.3g}"]


def main():
    """Grade, count who is left, and publish."""
    with tempfile.TemporaryDirectory() as top:
        inbox = Path(top) / "inbox"
        inbox.mkdir()
        count = submissions(inbox)
        everything = sorted(inbox.iterdir())
        random.Random(1).shuffle(everything)
        first = Path(top) / "first"
        first.mkdir()
        for path in everything[:SHOWN]:
            path.rename(first / path.name)
        token = census.new_token()
        os.environ[census.TOKEN] = token  # every process that is started from now on inherits it
        shown_wall, shown, shown_cpu = grade(first, Path(top) / "one", True)
        wall, judged, judged_cpu = grade(inbox, Path(top) / "two", False)
        left = census.eventually_empty(
            lambda: [p for p in census.everybody(token) if p.pid != os.getpid()], seconds=5
        )
    mutants = [mutant for wing in museum().values() for mutant in wing]
    alone = sum(mutant.values_alone for mutant in mutants)
    rows = [
        row("notebook and judge", shown_wall, shown, shown_cpu),
        row("judge alone", wall, judged, judged_cpu),
    ]
    publish(
        "Grading, two submissions at once",
        [
            "what",
            "submissions",
            "seconds of each",
            "CPU seconds of each",
            "wall seconds / submissions",
        ],
        rows,
        f"{count} mixed submissions (finished, mutants, hostile); processes left behind: "
        f"{len(left)}. A check of values alone would have passed {alone} of {len(mutants)} mutants "
        f"({100 * alone / len(mutants):.0f} %). Median over all: {statistics.median(shown):.3g} s "
        "with the notebook.",
    )


if __name__ == "__main__":
    main()
