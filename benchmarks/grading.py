"""How long does a submission take, is anybody left behind, and how many impostors would a check of values have passed?

    python benchmarks/grading.py               200 submissions: finished ones, stubs, mutants of the museum, hostile ones

Two submissions at once. The first 40 are run as notebooks, too, as `minidl grade` does; of the others only the judge is asked.
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

ALL, SHOWN = 200, 40
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
        path.name[:2]: importlib.import_module(f"tests.grading.museum_{path.name[:2]}").MUTANTS
        for path in masters()
    }


def with_answer(master, name, task="", answer=""):
    """The solutions as somebody hands them in, with one answer replaced."""
    cells = nbformat.from_dict(master)
    with_role(cells, "name")[0].source = f"learner = {name!r}"
    if task:
        answers(cells)[task].source = answer
    return nbformat.writes(cells)


def submissions(folder):
    """Write 200 mixed submissions, shuffled: all mutants once or, if they are too many, a sample, and the rest."""
    draw, found = random.Random(0), []
    for path in masters():
        master = nbformat.writes(read_master(path))
        fresh = lambda: nbformat.reads(master, as_version=4)
        for i, mutant in enumerate(museum()[path.name[:2]]):
            found.append(
                (
                    f"mutant {path.name[:2]} {i}",
                    with_answer(fresh(), f"m{i}", mutant.task, mutant.answer),
                )
            )
        for i in range(20):
            found.append((f"finished {path.name[:2]} {i}", with_answer(fresh(), f"f{i}")))
        tasks = list(answers(fresh()))
        for i, line in enumerate(HOSTILE):
            head = answers(fresh())[tasks[0]].source.split("\n")[0]
            found.append(
                (
                    f"hostile {path.name[:2]} {i}",
                    with_answer(fresh(), f"h{i}", tasks[0], f"{head}\n    {line}\n"),
                )
            )
    for name, text in draw.sample(found, min(ALL, len(found))):
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return min(ALL, len(found))


def grade(folder, out, shown):
    """(wall seconds, seconds of each) of grading a folder, two at once."""
    began = time.monotonic()
    results = Grading(Course(SOLUTIONS), out, Settings(jobs=2, shown=shown)).run(
        handed_in.find([folder])
    )
    return (
        time.monotonic() - began,
        [sum(result["seconds"].values()) for result in results.values()],
        results,
    )


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
        token = os.environ[census.TOKEN] = (
            census.new_token()
        )  # all that is started from here on inherits it
        shown_wall, shown, _ = grade(first, Path(top) / "one", True)
        wall, judged, _ = grade(inbox, Path(top) / "two", False)
        left = census.eventually_empty(
            lambda: [p for p in census.everybody(token) if p.pid != os.getpid()], seconds=5
        )
    mutants = [mutant for wing in museum().values() for mutant in wing]
    alone = sum(mutant.values_alone for mutant in mutants)
    rows = [
        ["notebook and judge", SHOWN, spread(shown), f"{shown_wall / SHOWN:.3g}"],
        ["judge alone", len(judged), spread(judged), f"{wall / len(judged):.3g}"],
    ]
    publish(
        "Grading, two submissions at once",
        ["what", "submissions", "seconds of a submission", "wall seconds a submission"],
        rows,
        f"{count} mixed submissions (finished, mutants, hostile); processes left behind: {len(left)}. A check of values alone would have passed "
        f"{alone} of {len(mutants)} mutants ({100 * alone / len(mutants):.0f} %). Median over all: {statistics.median(shown):.3g} s with the notebook.",
    )


if __name__ == "__main__":
    main()
