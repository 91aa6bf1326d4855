"""A page on one notebook in JupyterLab: what a learner does with keyboard and mouse, and everything
that goes wrong.
"""

import time
from urllib.parse import urlsplit

from nbformat import from_dict

from tests.deadlines import generous

PANEL = "window.jupyterapp.shell.currentWidget"
SECONDS = generous(60)  # for a whole notebook
OFTEN = 100  # milliseconds between two looks; playwright would look at each frame that is drawn


class Watched:
    """A page on one notebook, and everything that it did wrong."""

    def __init__(self, page, lab):
        self.page, self.wrong = page, []
        inside = urlsplit(lab).netloc

        def check(url):
            if (
                urlsplit(url).scheme not in ("data", "blob", "about")
                and urlsplit(url).netloc != inside
            ):
                self.wrong.append(f"request to the outside: {url}")

        page.on("request", lambda request: check(request.url))
        page.on("websocket", lambda websocket: check(websocket.url))
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught in the page: {error}"))
        page.on(
            "console",
            lambda message: (
                self.wrong.append(f"console: {message.text}") if message.type == "error" else None
            ),
        )

    def open(self, address):
        """Load JupyterLab and wait until the notebook's kernel is idle."""
        self.page.goto(address)
        self.page.wait_for_function(
            f"window.jupyterapp && {PANEL} && {PANEL}.content && {PANEL}.content.model",
            timeout=generous(60_000),
        )
        self.page.wait_for_function(f"{PANEL}.sessionContext.isReady", timeout=generous(60_000))
        self.idle()
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(
            timeout=generous(60_000)
        )

    def run_all(self):
        """Run, Run All Cells, from the menu; return the cells as they are when all have run."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        # The outputs stay where they are: copying them out for each look would take longer than
        # to compute them.
        self.page.wait_for_function(
            f"{{ const code = {PANEL}.content.widgets.map(w => w.model).filter(m => m.type == 'code');"
            " const failed = m => [...Array(m.outputs.length).keys()].some(i => m.outputs.get(i).type == 'error')"
            " && !(m.getMetadata('tags') || []).includes('raises-exception');"
            " code.every(m => m.executionCount) || code.some(failed) }",
            timeout=SECONDS * 1000,
            polling=OFTEN,
        )
        self.idle()
        return self.cells()

    def idle(self):
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(
            f"{PANEL}.sessionContext.session?.kernel?.status == 'idle'",
            timeout=SECONDS * 1000,
            polling=OFTEN,
        )

    def move_slider(self, index):
        """Press an arrow key on the first slider of cell `index`; return its output before and
        after, as HTML.
        """
        self.page.evaluate(
            f"async index => {{ const book = {PANEL}.content; book.activeCellIndex = index;"
            " await book.scrollToCell(book.widgets[index], 'start'); }",
            index,
        )
        handle = self.page.locator(".jp-Cell.jp-mod-active .noUi-handle").first
        drawn = self.page.locator(".jp-Cell.jp-mod-active .jp-OutputArea .widget-output")
        handle.wait_for(timeout=generous(30_000))
        drawn.locator(".jp-OutputArea-child").first.wait_for(timeout=generous(30_000))
        before = settled(drawn)
        handle.focus()
        self.page.keyboard.press("ArrowRight")
        self.page.wait_for_function(
            "([node, before]) => node.innerHTML != before && node.querySelector('.jp-OutputArea-child')",
            arg=[drawn.element_handle(), before],
            timeout=generous(30_000),
            polling=OFTEN,
        )
        self.idle()
        after = settled(drawn)
        if drawn.locator(
            "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
        ).count():
            self.wrong.append(f"the slider of cell {index} raised: {drawn.inner_text()[:500]}")
        return before, after

    def write(self, index, text):
        """Replace what stands in cell `index`, by keyboard, and run it with Shift+Enter; then wait
        until the kernel is idle.
        """
        self.page.evaluate(
            f"async index => {{ const book = {PANEL}.content; book.activeCellIndex = index;"
            " await book.scrollToCell(book.widgets[index], 'start'); }",
            index,
        )
        editor = self.page.locator(".jp-Cell.jp-mod-active .cm-content")
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)
        self.run(index)

    def run(self, index):
        """Run cell `index` with Shift+Enter and return its outputs."""
        count = f"{PANEL}.content.widgets[index].model.executionCount"
        before = self.page.evaluate(
            f"index => {{ {PANEL}.content.activeCellIndex = index; return {count}; }}", index
        )
        self.page.locator(".jp-Cell.jp-mod-active .cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(
            f"([index, before]) => {count} != before && {count}",
            arg=[index, before],
            timeout=generous(60_000),
            polling=OFTEN,
        )
        self.idle()
        return self.cells()[index].get("outputs", [])

    def cells(self):
        """All cells as they are now."""
        return from_dict(self.page.evaluate(f"{PANEL}.content.model.sharedModel.toJSON()")).cells

    def play_and_drag(self, index):
        """Press Play in the replay of cell `index`, then drag its slider back; return what was
        drawn before, after and then.
        """
        self.page.evaluate(
            f"async index => {{ const book = {PANEL}.content; book.activeCellIndex = index;"
            " await book.scrollToCell(book.widgets[index], 'start'); }",
            index,
        )
        plot = self.page.locator(".jp-Cell.jp-mod-active .js-plotly-plot")
        plot.locator(".updatemenu-button").first.wait_for(timeout=generous(30_000))
        drawn = plot.locator(".cartesianlayer")
        still = settled(drawn)
        self.page.wait_for_timeout(500)
        if drawn.inner_html() != still:
            self.wrong.append(f"the replay of cell {index} plays before anyone pressed Play")
        plot.locator(".updatemenu-button", has_text="Play").click()
        self.until_changed(drawn, still)
        plot.locator(".updatemenu-button", has_text="Pause").click()
        played = settled(drawn)
        grip, rail = (
            plot.locator(".slider-grip-rect").bounding_box(),
            plot.locator(".slider-rail-rect").bounding_box(),
        )
        self.page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(
            rail["x"] + 0.8 * rail["width"], grip["y"] + grip["height"] / 2, steps=6
        )
        self.page.mouse.up()
        self.until_changed(drawn, played)
        dragged = settled(drawn)
        # plotly rejects the promise of a film that is interrupted, without a reason, and nobody
        # catches it
        self.wrong = [what for what in self.wrong if what != "uncaught in the page: undefined"]
        return still, played, dragged

    def until_changed(self, locator, before):
        """Wait until the node does not look as before."""
        self.page.wait_for_function(
            "([node, before]) => node.innerHTML != before",
            arg=[locator.element_handle(), before],
            timeout=generous(15_000),
            polling=OFTEN,
        )


def settled(locator):
    """The HTML of a node, once two looks 0.3 s apart find the same: pictures are drawn after they
    have come.
    """
    seen, now = None, locator.inner_html()
    deadline = time.monotonic() + generous(15)
    while now != seen and time.monotonic() < deadline:
        locator.page.wait_for_timeout(300)
        seen, now = now, locator.inner_html()
    return now
