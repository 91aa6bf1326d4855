"""Do the notebooks work for a learner: in JupyterLab, in a real browser, from Run All Cells to moved sliders and replays?

    JupyterLab on 127.0.0.1  <--  headless Chromium: opens, runs all cells, moves each first slider,
    presses Play in each replay and drags it; no console error, no request to the outside, no error but in
    cells that are meant to raise, and the same outputs as those committed, by nbval's own comparison

Slow (about 30 seconds a notebook). Skipped, with its reason, where there is no Chromium or no playwright.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nbformat import from_dict
from nbval.plugin import IPyNbFile, coalesce_streams

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'minidl[test]'")
psutil = pytest.importorskip("psutil", reason="psutil is not installed: pip install 'minidl[test]'")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: none of " + ", ".join(NAMES) + " is on the PATH")

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
PANEL = "window.jupyterapp.shell.currentWidget"
SECONDS = 120                           # for a whole notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves a copy of the notebooks and nothing of this user's settings."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for path in NOTEBOOKS.glob("*.ipynb"):
        (folder / "notebooks" / path.name).write_text(without_outputs(path), encoding="utf-8")
    news = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    env |= {"MINIDL_OUTPUT": "sorted", "IPYTHONDIR": str(folder / "ipython"),
            **{f"JUPYTER_{what}_DIR": str(folder / what.lower()) for what in ("CONFIG", "DATA", "RUNTIME")},
            **{f"JUPYTERLAB_{what}_DIR": str(folder / what.lower()) for what in ("SETTINGS", "WORKSPACES")}}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               "--LabApp.extension_manager=readonly", "--ServerApp.answer_yes=True"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        until_it_answers(f"http://127.0.0.1:{port}/api", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        end(server.pid)


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


def without_outputs(path):
    """The notebook as a learner gets it: no outputs, no counts."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook)


def until_it_answers(address, server, log, seconds=60):
    """Wait for the server; raise what it said if it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)


def end(pid, seconds=15):
    """End the process and all that it started; none of them outlives this call."""
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    server.terminate()                                  # the server then shuts down its kernels, and they their ranks
    _, alive = psutil.wait_procs(family, timeout=seconds)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=seconds)


class Watched:
    """A page on one notebook, and everything that it did wrong."""

    def __init__(self, page, lab):
        self.page, self.wrong = page, []
        inside = urlsplit(lab).netloc

        def check(url):
            if urlsplit(url).scheme not in ("data", "blob", "about") and urlsplit(url).netloc != inside:
                self.wrong.append(f"request to the outside: {url}")
        page.on("request", lambda request: check(request.url))
        page.on("websocket", lambda websocket: check(websocket.url))
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught in the page: {error}"))
        page.on("console", lambda message: self.wrong.append(f"console: {message.text}") if message.type == "error" else None)

    def open(self, address):
        """Load JupyterLab and wait until the notebook's kernel is idle."""
        self.page.goto(address)
        self.page.wait_for_function(f"window.jupyterapp && {PANEL} && {PANEL}.content && {PANEL}.content.model", timeout=60_000)
        self.page.wait_for_function(f"{PANEL}.sessionContext.isReady", timeout=60_000)
        self.idle()
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)

    def run_all(self):
        """Run, Run All Cells, from the menu; return the cells as they are when all have run."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(f"{{ const code = {PANEL}.content.model.sharedModel.toJSON().cells.filter(c => c.cell_type == 'code');"
                                    " code.every(c => c.execution_count) || code.some(c => c.outputs.some(o => o.output_type == 'error')"
                                    " && !(c.metadata.tags || []).includes('raises-exception')) }", timeout=SECONDS * 1000)
        self.idle()
        return from_dict(self.page.evaluate(f"{PANEL}.content.model.sharedModel.toJSON()")).cells

    def idle(self):
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(f"{PANEL}.sessionContext.session?.kernel?.status == 'idle'", timeout=SECONDS * 1000)

    def move_slider(self, index):
        """Press an arrow key on the first slider of cell `index`; return its output before and after, as HTML."""
        self.page.evaluate(f"async index => {{ const book = {PANEL}.content; book.activeCellIndex = index;"
                           " await book.scrollToCell(book.widgets[index], 'start'); }", index)
        handle = self.page.locator(".jp-Cell.jp-mod-active .noUi-handle").first
        drawn = self.page.locator(".jp-Cell.jp-mod-active .jp-OutputArea .widget-output")
        handle.wait_for(timeout=30_000)
        drawn.locator(".jp-OutputArea-child").first.wait_for(timeout=30_000)
        before = settled(drawn)
        handle.focus()
        self.page.keyboard.press("ArrowRight")
        self.page.wait_for_function("([node, before]) => node.innerHTML != before && node.querySelector('.jp-OutputArea-child')",
                                    arg=[drawn.element_handle(), before], timeout=30_000)
        self.idle()
        after = settled(drawn)
        if drawn.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']").count():
            self.wrong.append(f"the slider of cell {index} raised: {drawn.inner_text()[:500]}")
        return before, after


    def play_and_drag(self, index):
        """Press Play in the replay of cell `index`, then drag its slider back; return what was drawn before, after and then."""
        self.page.evaluate(f"async index => {{ const book = {PANEL}.content; book.activeCellIndex = index;"
                           " await book.scrollToCell(book.widgets[index], 'start'); }", index)
        plot = self.page.locator(".jp-Cell.jp-mod-active .js-plotly-plot")
        plot.locator(".updatemenu-button").first.wait_for(timeout=30_000)
        drawn = plot.locator(".cartesianlayer")
        still = settled(drawn)
        self.page.wait_for_timeout(500)
        if drawn.inner_html() != still:
            self.wrong.append(f"the replay of cell {index} plays before anyone pressed Play")
        plot.locator(".updatemenu-button", has_text="Play").click()
        self.until_changed(drawn, still)
        plot.locator(".updatemenu-button", has_text="Pause").click()
        played = settled(drawn)
        grip, rail = plot.locator(".slider-grip-rect").bounding_box(), plot.locator(".slider-rail-rect").bounding_box()
        self.page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(rail["x"] + 0.8 * rail["width"], grip["y"] + grip["height"] / 2, steps=6)
        self.page.mouse.up()
        self.until_changed(drawn, played)
        dragged = settled(drawn)
        # plotly rejects the promise of a film that is interrupted, without a reason, and nobody catches it
        self.wrong = [what for what in self.wrong if what != "uncaught in the page: undefined"]
        return still, played, dragged

    def until_changed(self, locator, before):
        """Wait until the node does not look as before."""
        self.page.wait_for_function("([node, before]) => node.innerHTML != before", arg=[locator.element_handle(), before], timeout=15_000)


def settled(locator):
    """The HTML of a node, once two looks 0.3 s apart find the same: pictures are drawn after they have come."""
    seen, now = None, locator.inner_html()
    deadline = time.monotonic() + 15
    while now != seen and time.monotonic() < deadline:
        locator.page.wait_for_timeout(300)
        seen, now = now, locator.inner_html()
    return now


def tags(cell):
    return cell.metadata.get("tags", [])


def told(cells, ids):
    """What the errors of these cells say."""
    return "\n".join(f"cell {cell.id}: {o.ename}: {o.evalue}" for cell in cells if cell.id in ids for o in cell.outputs if o.output_type == "error")


def differences(path, cells, session):
    """The cells whose outputs are not the committed ones, as nbval would say."""
    notebook = IPyNbFile.from_parent(session, path=path)
    committed = {item.cell.id: item for item in notebook.collect()}
    notebook.skip_compare += ("application/vnd.plotly.v1+json", "image/svg+xml")     # as in notebooks/conftest.py
    found = []
    for cell in cells:
        item = committed.get(cell.id)
        if item is not None and item.options["check"] and not item.compare_outputs(coalesce_streams(cell.outputs),
                                                                                   coalesce_streams(item.cell.outputs)):
            found.append(f"cell {cell.id} differs:\n" + "\n".join(item.comparison_traceback))
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_learner_can_run_it_all_and_move_the_sliders(name, lab, chromium, request):
    page = chromium.new_page(viewport={"width": 1280, "height": 1600})
    try:
        watched = Watched(page, lab)
        watched.open(f"{lab}/lab/tree/notebooks/{name}?reset")
        cells = watched.run_all()
        raised = [cell.id for cell in cells if any(o.output_type == "error" for o in cell.get("outputs", []))]
        assert raised == [cell.id for cell in cells if "raises-exception" in tags(cell)], told(cells, raised)
        assert not (found := differences(NOTEBOOKS / name, cells, request.session)), "\n".join(found)
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
        heights = page.evaluate("[...document.querySelectorAll('.jp-Notebook .js-plotly-plot')].map(plot => plot.clientHeight)")
        assert heights and min(heights) > 100, f"pictures collapse when the window changes its size: {heights} pixels high"
        assert not watched.wrong, "\n".join(watched.wrong)
    finally:
        page.close()
