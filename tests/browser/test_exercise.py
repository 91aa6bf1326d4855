"""A learner does an exercise by hand: a stub, a wrong answer and what is wrong with it, the right
one and its points.
"""

import pytest

from tests.browser.watched import Watched

TASK = "00-swap"
WRONG = "(comm.rank + 1) % comm.world_size"
RIGHT = "(table - comm.rank) % comm.world_size"


@pytest.fixture
def watched(lab, chromium):
    page = chromium.new_page(viewport={"width": 1280, "height": 1600})
    yield Watched(page, lab)
    page.close()


def role(cell):
    given = cell.metadata.get("minidl", {})
    return given.get("role"), given.get("task")


def shown(watched, index):
    """The HTML of the output of cell `index`, as it stands in the page."""
    return watched.page.evaluate(
        "index => window.jupyterapp.shell.currentWidget.content.widgets[index].outputArea.node.innerHTML",
        index,
    )


@pytest.mark.slow
def test_a_wrong_answer_shows_what_is_wrong_and_the_right_one_its_points(watched, lab):
    watched.open(f"{lab}/lab/tree/exercises/00_start_here.ipynb?reset")
    cells = watched.cells()
    name = next(i for i, cell in enumerate(cells) if role(cell)[0] == "name")
    answer, check = (
        next(i for i, cell in enumerate(cells) if role(cell) == (kind, TASK))
        for kind in ("answer", "check")
    )
    watched.write(name, 'learner = "Ada"')
    for index in [i for i, cell in enumerate(cells[:answer]) if role(cell)[0] == "setup"]:
        watched.run(index)
    stub = cells[answer].source
    watched.run(answer)
    watched.run(check)
    assert "not done yet" in shown(watched, check) and "Traceback" not in shown(watched, check)

    watched.write(answer, stub.replace("partner = ...", f"partner = {WRONG}"))
    watched.run(check)
    wrong = shown(watched, check)
    assert (
        "no</b>" in wrong
        and "The smallest case that fails" in wrong
        and 'role="img"' in wrong
        and "a right answer" in wrong
    )
    hints = watched.page.locator(".jp-Notebook details > summary", has_text="A hint").first
    hints.click()
    assert watched.page.locator(".jp-Notebook details[open]").count() == 1

    watched.write(answer, stub.replace("partner = ...", f"partner = {RIGHT}"))
    watched.run(check)
    right = shown(watched, check)
    assert "4 of 4 points" in right and "no</b>" not in right and 'role="img"' not in right
    assert not watched.wrong, "\n".join(watched.wrong)
