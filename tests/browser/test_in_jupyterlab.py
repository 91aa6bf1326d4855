"""Do the notebooks work for a learner, in JupyterLab and in a real browser?

    JupyterLab on 127.0.0.1  <--  headless Chromium

It opens a notebook, runs all cells, moves each first slider, presses Play in each replay and
drags it.
No console error, no request to the outside, and no error but in cells that are meant to raise. The
outputs are those committed, by nbval's own comparison.

nbval then finds the same outputs by `keep`, and need not execute the notebook again.
Skipped, with its reason, where there is no Chromium or no playwright.
"""

from pathlib import Path

import pytest
from nbval.plugin import IPyNbFile, coalesce_streams

from tests.browser.watched import Watched

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def tags(cell):
    return cell.metadata.get("tags", [])


def told(cells, ids):
    """What the errors of these cells say."""
    return "\n".join(
        f"cell {cell.id}: {o.ename}: {o.evalue}"
        for cell in cells
        if cell.id in ids
        for o in cell.outputs
        if o.output_type == "error"
    )


def differences(path, cells, session):
    """The cells whose outputs are not the committed ones, as nbval would say."""
    notebook = IPyNbFile.from_parent(session, path=path)
    committed = {item.cell.id: item for item in notebook.collect()}
    notebook.skip_compare += (
        "application/vnd.plotly.v1+json",
        "image/svg+xml",
    )  # as in notebooks/conftest.py
    found = []
    for cell in cells:
        item = committed.get(cell.id)
        if (
            item is not None
            and item.options["check"]
            and not item.compare_outputs(
                coalesce_streams(cell.outputs), coalesce_streams(item.cell.outputs)
            )
        ):
            found.append(f"cell {cell.id} differs:\n" + "\n".join(item.comparison_traceback))
    return found


def keep(path, cells, session):
    """Give the executed cells to nbval's items of the same notebook; see notebooks/conftest.py."""
    for item in session.items:
        if item.path == path and hasattr(item.parent, "executed"):
            item.parent.executed = cells


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_learner_can_run_it_all_and_move_the_sliders(name, lab, chromium, request):
    page = chromium.new_page(viewport={"width": 1280, "height": 1600})
    try:
        watched = Watched(page, lab)
        watched.open(f"{lab}/lab/tree/notebooks/{name}?reset")
        cells = watched.run_all()
        raised = [
            cell.id
            for cell in cells
            if any(o.output_type == "error" for o in cell.get("outputs", []))
        ]
        assert raised == [cell.id for cell in cells if "raises-exception" in tags(cell)], told(
            cells, raised
        )
        assert not (found := differences(NOTEBOOKS / name, cells, request.session)), "\n".join(
            found
        )
        keep(NOTEBOOKS / name, cells, request.session)
        sliders = [index for index, cell in enumerate(cells) if "@interact" in cell.source]
        assert sliders, "a notebook has at least one control"
        for index in sliders:
            before, after = watched.move_slider(index)
            assert before != after, f"moving the slider of cell {index} changed nothing"
        for index in [index for index, cell in enumerate(cells) if "replay(" in cell.source]:
            still, played, dragged = watched.play_and_drag(index)
            assert len({still, played, dragged}) == 3, f"the replay of cell {index} did not move"
        page.set_viewport_size({"width": 1100, "height": 1500})
        page.wait_for_timeout(1000)
        heights = page.evaluate(
            "[...document.querySelectorAll('.jp-Notebook .js-plotly-plot')].map(plot => plot.clientHeight)"
        )
        assert heights and min(heights) > 100, (
            f"pictures collapse when the window changes its size: {heights} pixels high"
        )
        assert not watched.wrong, "\n".join(watched.wrong)
    finally:
        page.close()
