"""What is pinned is pinned once, says the same everywhere, and names no machine but the learner's."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadlines import generous

ROOT = Path(__file__).resolve().parent.parent
TEXT = set(" .cfg .css .html .ipynb .js .json .md .py .sh .svg .toml .txt .yaml .yml".split(" "))
PIN = re.compile(
    r"([A-Za-z0-9_.-]+)==([0-9][\w.]*)(?:\s*;\s*python_version\s*(<|>=)\s*['\"](3\.\d+)['\"])?$"
)


def pins(lines):
    """{(name, marker): version} of lines that must each be an exact pin."""
    found = {}
    for line in lines:
        match = PIN.match(line)
        assert match, f"not an exact pin: {line}"
        name, version, sign, python = match.groups()
        found[name.lower().replace("_", "-"), f"{sign}{python}" if sign else ""] = version
    return found


def quoted_list(text, opening):
    """The strings of the TOML list that begins with `opening`. (Python 3.10 has no tomllib.)"""
    body = text[text.index(opening) + len(opening) :]
    return ast.literal_eval("[" + body[: body.index("\n]")] + "\n]")


def requirement_lines():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def tracked_files():
    """Files that git tracks or would, as text."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in TEXT and path.is_file()
    }
    assert ROOT / "start.py" in texts
    return texts


def test_requirements_repeat_every_pin_of_pyproject():
    project = pins(
        quoted_list((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "\ndependencies = [")
    )
    requirements = pins(requirement_lines())
    assert project.items() <= requirements.items()
    assert ("torch", "") in project and len(project) > 10


def test_test_extra_is_pinned_and_apart():
    extra = pins(quoted_list((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "\ntest = ["))
    assert {name for name, _ in extra} >= {"hypothesis", "playwright", "psutil", "pytest-xdist"}
    assert not extra.keys() & pins(requirement_lines()).keys()


def test_a_pin_for_old_pythons_has_one_for_new_pythons():
    markers = {}
    for name, marker in pins(requirement_lines()):
        markers.setdefault(name, set()).add(marker)
    assert {frozenset(found) for found in markers.values()} == {
        frozenset([""]),
        frozenset(["<3.11", ">=3.11"]),
    }


def test_conda_and_binder_take_the_same_pins():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    entries = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("- ")]
    assert entries[-2:] == ["-r requirements.txt", "-e .[test]"]
    assert not [entry for entry in entries if "==" in entry]


@pytest.mark.skipif(sys.platform == "win32", reason="Binder runs Linux")
def test_binder_gets_copies_without_outputs(tmp_path):
    for name in ("start.py", "postBuild"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    subprocess.run(
        ["bash", "postBuild"],
        cwd=tmp_path,
        check=True,
        timeout=generous(60),
        env={**os.environ, "PATH": path},
    )
    cells = json.loads((tmp_path / "work" / "00_start_here.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    assert len(cells) > 10 and not [cell for cell in cells if cell.get("outputs")]


def test_start_installs_the_torch_that_is_pinned():
    start = (ROOT / "start.py").read_text(encoding="utf-8")
    assert f'TORCH = "torch=={pins(requirement_lines())["torch", ""]}"' in start


def test_this_environment_holds_the_pins():
    from importlib.metadata import version

    newer = sys.version_info >= (3, 11)
    for (name, marker), pinned in pins(requirement_lines()).items():
        if marker in ("", ">=3.11" if newer else "<3.11"):
            assert version(name).split("+")[0] == pinned, name


def test_the_command_minidl_is_where_pyproject_says():
    import importlib

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    module, function = re.search(r'\nminidl = "([\w.]+):(\w+)"', text).groups()
    assert callable(getattr(importlib.import_module(module), function))


def test_the_package_and_pyproject_tell_the_same_version():
    import minidl

    assert f'\nversion = "{minidl.__version__}"\n' in (ROOT / "pyproject.toml").read_text(
        encoding="utf-8"
    )


def test_no_file_names_a_registry():
    hosts = [
        "pypi" + ".org",
        "python" + "hosted",
        "anaconda" + ".org",
        "registry" + ".npmjs",
        "conda" + ".io",
    ]
    index = re.compile(
        r"(?:index-url|find-links|trusted-host)[=\s\"',]+"
        r"(?:https?:/|file:/|/)(?!/download\.pytorch\.org)[^\s\"']*"
    )
    found = [
        (path.name, hit)
        for path, text in tracked_files().items()
        for hit in [host for host in hosts if host in text] + index.findall(text)
    ]
    assert not found


def test_no_file_names_a_path_of_someones_machine():
    places = re.compile(
        r"(?<![\w./)}*-])"
        r"(?:/(?:root|home|Users|opt)/\w[^\s\"']*|/wor"
        + r"k/(?:main|shared)\b|[A-Z]:\\+Users\\+\w)"
    )
    found = [
        (path.name, hit) for path, text in tracked_files().items() for hit in places.findall(text)
    ]
    assert not found
