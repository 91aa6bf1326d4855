"""Is each notebook of the course as style.md asks, and are its committed outputs those of its
sources?

This file reads; nbval (pytest --nbval notebooks/) and tests/browser/ run.
"""

import ast
import importlib.util
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
spec = importlib.util.spec_from_file_location(
    "execute_notebooks", ROOT / "tools" / "execute_notebooks.py"
)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def anchors():
    """What a link into the glossary can point to."""
    return {
        line[3:].strip().lower().replace(" ", "-")
        for line in (ROOT / "notebooks" / "glossary.md").read_text().splitlines()
        if line.startswith("## ")
    }


def test_the_first_two_notebooks_are_there():
    assert [path.stem for path in PATHS][:2] == ["00_start_here", "01_messages"]


def test_it_opens_with_its_title_and_the_learners_time(path, notebook):
    first = words(notebook)[0]
    assert notebook.cells[0].cell_type == "markdown" and first.startswith(f"# {path.stem[:2]} ")
    assert re.search(r"^\*Your time: \d+ minutes\. Machine time: .+\*$", first, re.M)


def test_it_has_five_to_eight_rounds_each_with_its_parts(notebook):
    text = "\n".join(words(notebook))
    rounds = re.split(r"^## ", text, flags=re.M)[1:]
    numbered = [part for part in rounds if part.startswith("Round ")]
    assert 5 <= len(numbered) <= 8
    for number, part in enumerate(numbered, start=1):
        assert part.startswith(f"Round {number}: ")
        for step in ("**Question.**", "**Predict.**", "**Run", "**See.**", "**Explain.**"):
            assert step in part, f"round {number} has no {step}"
    assert (
        sum("**Try.**" in part or "**Repair.**" in part or "write.**" in part for part in numbered)
        >= 3
    )


def test_it_ends_with_the_sections_that_all_notebooks_share(notebook):
    titles = re.findall(r"^## (.+)$", "\n".join(words(notebook)), flags=re.M)
    shared = ["The cost card", "The same in PyTorch", "What changes at 1,000 ranks", "Your guesses"]
    assert [title for title in titles if title in shared] == shared


def test_its_cells_are_short_and_never_three_in_a_row(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code(notebook)]
    # The two blank lines that the formatter puts around each function are no lines to read.
    written = [len([line for line in cell.source.splitlines() if line]) for cell in code(notebook)]
    assert max(lengths) <= 20 and median(written) <= 5
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert "ccc" not in kinds


def test_no_screen_of_words_is_long(notebook):
    for source in words(notebook):
        prose = re.sub(r"<details>.*?</details>|\$\$.*?\$\$", "", source, flags=re.S)
        for part in re.split(r"\*\*(?:Question|Predict|Explain|Try|Run|See)[.,]", prose):
            assert len(part.split()) <= 110, f"{len(part.split())} words: {part[:80]}"


def test_every_guess_is_left_open_and_set_beside_what_happened(notebook):
    asked = re.findall(
        r'^guess\["(.+?)"\] = (.+)$', "\n".join(cell.source for cell in code(notebook)), flags=re.M
    )
    assert len(asked) >= 5 and {answer for _, answer in asked} == {"..."}
    (beside,) = [cell.source for cell in code(notebook) if cell.source.startswith("guess.beside(")]
    assert [question for question, _ in asked] == re.findall(r'^ +"(.+?)": ', beside, flags=re.M)


def test_every_link_resolves(path, notebook):
    for target in re.findall(r"\]\(([^)]+)\)", "\n".join(words(notebook))):
        file, _, anchor = target.partition("#")
        assert "://" not in target, f"{target} needs a network"
        assert (path.parent / file).resolve().exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(), f"{anchor} is not in the glossary"


def test_the_glossary_is_sorted_and_every_word_is_used():
    titles = [
        line[3:]
        for line in (ROOT / "notebooks" / "glossary.md").read_text().splitlines()
        if line.startswith("## ")
    ]
    used = set(re.findall(r"glossary\.md#([\w-]+)", "".join(path.read_text() for path in PATHS)))
    assert titles == sorted(titles, key=str.lower)
    assert anchors() == used


def test_a_word_is_linked_where_it_is_first_used(notebook):
    linked = re.findall(r"glossary\.md#([\w-]+)", "\n".join(words(notebook)))
    assert len(linked) == len(set(linked))


def test_it_has_a_control_and_a_picture_before_it(notebook):
    controls = [at for at, cell in enumerate(notebook.cells) if "@interact" in cell.source]
    assert controls
    drawn = [
        at
        for at, cell in enumerate(notebook.cells)
        if any("image/svg+xml" in o.get("data", {}) for o in cell.get("outputs", []))
    ]
    for at in controls:
        assert any(at - 8 < picture < at for picture in drawn)


def test_words_are_plain(notebook):
    for source in words(notebook):
        assert "!" not in re.sub(r"`[^`]*`|!\[", "", source) and source.isascii()


def test_its_outputs_are_committed_and_belong_to_its_sources(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, len(code(notebook)) + 1)
    )
    assert tool.is_current(notebook), (
        "changed since it was executed: python tools/execute_notebooks.py"
    )


def test_it_is_small_and_names_nobodys_machine(path, notebook):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 600_000
    assert "widget-state" not in text and tool.WIDGET not in text
    tool.inspect(notebook)


def test_its_ids_and_metadata_are_the_same_each_time(path, notebook):
    assert [cell.id for cell in notebook.cells] == [
        f"{path.stem[:2]}-{at:02d}" for at in range(len(notebook.cells))
    ]
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert (
        set(notebook.metadata) == {"kernelspec", "language_info", "minidl"}
        and notebook.metadata.kernelspec.name == "python3"
    )


def test_its_tags_are_known_and_errors_stand_only_where_they_are_meant(notebook):
    for cell in code(notebook):
        assert set(cell.metadata.get("tags", [])) <= {"nbval-ignore-output", "raises-exception"}
        raised = any(o.output_type == "error" for o in cell.outputs)
        assert raised == ("raises-exception" in cell.metadata.get("tags", []))


def test_every_code_cell_is_python_that_parses(notebook):
    for cell in code(notebook):
        ast.parse(re.sub(r"^%%ranks.*\n", "", cell.source))


def test_a_changed_cell_is_noticed(notebook):
    code(notebook)[0].source += "\n"
    assert not tool.is_current(notebook)


def test_nbval_collects_every_code_cell(path, notebook, request):
    from nbval.plugin import IPyNbFile

    items = list(IPyNbFile.from_parent(request.session, path=path).collect())
    assert len(items) == len(code(notebook))


def test_the_tool_refuses_what_should_not_be_stored():
    cell = nbformat.v4.new_code_cell("1")
    book = nbformat.v4.new_notebook(cells=[cell])
    for output, reason in (
        (nbformat.v4.new_output("stream", name="stderr", text="careful"), "stderr"),
        (
            nbformat.v4.new_output("stream", name="stdout", text="/tmp/ipykernel_7/1.py"),
            "path of this machine",
        ),
    ):
        cell.outputs = [output]
        with pytest.raises(tool.Unfit, match=reason):
            tool.inspect(book)
    cell.outputs, cell.metadata["tags"] = [], ["raises-exception"]
    with pytest.raises(tool.Unfit, match="raised nothing"):
        tool.inspect(book)
