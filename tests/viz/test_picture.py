"""What holds for every picture: it is valid in each of its forms, small, quick, and says the same
in all of them.
"""

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import plotly.graph_objects as go
import pytest

from minidl.trace import Trace
from minidl.viz.drawing.picture import Table
from minidl.viz.drawing.scene import Arrow, Box, Dot
from minidl.viz.pictures.fit import fit
from minidl.viz.pictures.lamport import lamport
from minidl.viz.pictures.timeline import timeline
from minidl.viz.pictures.traffic import traffic
from minidl.viz.pictures.wait_for import wait_for
from tests.deadlines import generous
from tests.viz import samples

SVG = "{http://www.w3.org/2000/svg}"
PICTURES = (lamport, timeline, traffic, wait_for)
TRACES = {
    "ring": samples.ring(),
    "eight": samples.ring(8),
    "deadlock": samples.deadlock(4),
    "unfinished": samples.unfinished(),
    "background": samples.background(),
    "empty": Trace(3),
    "one rank": Trace(1),
}
CROWD = samples.crowd()


def drawn():
    """(name, picture) of everything that can be drawn from the small traces."""
    for name, trace in TRACES.items():
        for draw in PICTURES:
            yield f"{draw.__name__} of {name}", draw(trace)
    yield "fit", fit(samples.sizes())


ALL = dict(drawn())


@pytest.mark.parametrize("name", ALL)
def test_plotly_accepts_the_figure(name):
    figure = ALL[name].plotly()
    config = figure.pop("config")
    go.Figure(figure)  # raises on an unknown key or a wrong value
    assert "template" not in figure["layout"] and not config["displaylogo"]
    texts = [note["text"].replace("<br>", " ") for note in figure["layout"]["annotations"]]
    assert texts == [f"<b>{ALL[name].title}</b>", ALL[name].caption]


@pytest.mark.parametrize("name", ALL)
def test_the_svg_shows_the_same_shapes(name):
    picture = ALL[name]
    root = ElementTree.fromstring(picture.svg())
    layers = {group.get("class"): group for group in root.findall(f"{SVG}g") if group.get("class")}
    assert set(layers) == {layer.name for layer in picture.scene.layers}
    for layer in picture.scene.layers:
        tag = {Box: "rect", Arrow: "path", Dot: "circle"}.get(type(layer.shapes[0]))
        if tag:
            assert len(layers[layer.name].findall(f".//{SVG}{tag}")) == len(layer.shapes)
    words = " ".join("".join(text.itertext()) for text in root.findall(f"{SVG}text"))
    assert picture.title in words and picture.caption in words


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_drawn_outside_the_page(name):
    root = ElementTree.fromstring(ALL[name].svg())
    width, height = float(root.get("width")), float(root.get("height"))
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        assert -1 <= x and x + w <= width + 1 and 0 <= y and y + h <= height
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width and 0 < float(text.get("y")) < height


def test_a_picture_carries_three_forms():
    bundle = lamport(samples.ring())._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"}
    assert bundle["text/plain"] == "Picture(lamport: 4 ranks, 24 messages)"
    assert (
        len(json.dumps(bundle["application/vnd.plotly.v1+json"]) + bundle["image/svg+xml"]) < 30_000
    )


@pytest.mark.parametrize("draw", PICTURES)
def test_the_text_is_the_same_in_every_run(draw):
    assert repr(draw(samples.ring(seed=1))) == repr(draw(samples.ring(seed=2, alpha=5e-4)))


@pytest.mark.slow
@pytest.mark.parametrize("draw", PICTURES)
def test_a_crowd_is_quick_and_small(draw):
    start = time.process_time()
    bundle = draw(CROWD)._repr_mimebundle_()
    assert time.process_time() - start < 4  # computing each event against all would take minutes
    assert len(json.dumps(bundle["application/vnd.plotly.v1+json"])) < 500_000
    assert len(bundle["image/svg+xml"]) < 500_000


def test_text_of_a_learner_cannot_become_markup():
    maker = samples.Maker(2)
    maker.message(0, 1, 0.0, 0.0, 1e-3, line='<b onclick="x">&', span="<i>")
    picture = lamport(maker.trace())
    ElementTree.fromstring(picture.svg())
    hovers = [text for trace in picture.plotly()["data"] for text in trace.get("hovertext", ())]
    assert any("&lt;b onclick" in text for text in hovers) and not any(
        "<b " in text for text in hovers
    )


def test_save(tmp_path):
    picture = traffic(samples.ring())
    assert picture.save(tmp_path / "a.svg").read_text(encoding="utf-8") == picture.svg()
    assert (
        json.loads(picture.save(str(tmp_path / "a.json")).read_text(encoding="utf-8"))
        == picture.plotly()
    )
    page = picture.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert (
        "from rank" in page and 'src="http' not in page
    )  # plotly itself is inside: no network is needed
    with pytest.raises(ValueError, match=r"\.svg, \.html or \.json"):
        picture.save(tmp_path / "a.png")


def test_a_table_shows_itself():
    table = Table(("rank", "name", "seconds"), [(0, "a", 0.25), (10, "<b>", 1e-7)])
    assert repr(table) == "rank  name  seconds\n   0  a        0.25\n  10  <b>     1e-07"
    assert "<td>&lt;b&gt;</td>" in table._repr_html_()
    assert table["rank"] == [0, 10] and len(table) == 2 and list(table)[0] == (0, "a", 0.25)


def test_a_long_table_says_what_it_leaves_out():
    table = Table(("n",), [(i,) for i in range(1025)])
    assert repr(table).endswith("\nand 1,005 more rows") and len(table["n"]) == 1025


def test_drawing_imports_no_plotly_and_no_runtime():
    code = (
        "import sys, importlib.util, types\n"
        "package = types.ModuleType('minidl'); package.__path__ = importlib.util.find_spec('minidl').submodule_search_locations\n"
        "sys.modules['minidl'] = package\n"
        "from minidl.viz.pictures import export, fit, lamport, timeline, traffic, wait_for\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('plotly', 'torch', 'numpy') or m.startswith('minidl.runtime')])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=generous(60)
        ).stdout.strip()
        == "[]"
    )
