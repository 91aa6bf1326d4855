"""Every submission is found and gets its own name; refusals are reported, nothing is unpacked."""

import os
import zipfile

import pytest

from minidl_grader.course.cells import Unfit
from minidl_grader.inbox import handed_in
from minidl_grader.inbox.score import earned
from tests.minidl_grader import sample


def test_submissions_are_found_in_folders_and_zip_files(inbox, tmp_path):
    raw = sample.submission("Ada")
    inbox("ada", raw)
    inbox("bo/90_sample", raw)
    inbox("bo/.ipynb_checkpoints/90_sample-checkpoint", raw)
    with zipfile.ZipFile(inbox.folder / "class.zip", "w") as archive:
        archive.writestr("cy/90 sample.ipynb", sample.data(raw))
        archive.writestr("__MACOSX/cy/._90.ipynb", b"junk")
        archive.writestr("readme.txt", "hello")
    found = handed_in.find([inbox.folder])
    assert [one.key for one in found] == ["ada", "bo--90_sample", "class--cy--90_sample"]
    assert all(one.data() == sample.data(raw) for one in found)
    assert [
        one.key for one in handed_in.find([inbox.folder / "ada.ipynb", inbox.folder / "ada.ipynb"])
    ][0].startswith("ada")
    with pytest.raises(Unfit, match="there is no"):
        handed_in.find([tmp_path / "nowhere"])


def test_a_zip_file_cannot_reach_outside_of_itself(inbox, grade, tmp_path):
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(inbox.folder / "all.zip", "w") as archive:
        for name in (
            "../up.ipynb",
            "a/../../up.ipynb",
            "/tmp/absolute.ipynb",
            "C:\\windows.ipynb",
            "..\\up.ipynb",
        ):
            archive.writestr(name, b"{}")
        archive.writestr(link, "/etc/passwd")
        archive.writestr(
            "fine.ipynb", sample.data(sample.submission("Ada", shift=True, twice=True))
        )
    results = grade()
    assert sum("refused" in result["problem"] for result in results.values()) == 6
    assert earned(results["all--fine"]) == (10, 10) and not list(tmp_path.rglob("up.ipynb"))
    assert all(path.parent.name == "results" for path in (tmp_path / "out").rglob("*.json"))


def test_damaged_files_links_and_bombs_are_told(inbox, grade):
    (inbox.folder / "broken.zip").write_bytes(b"PK\x03\x04 no zip file")
    os.symlink("/etc/passwd", inbox.folder / "link.ipynb")
    with zipfile.ZipFile(inbox.folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.ipynb", bytes(60_000_000))
    results = grade()
    assert (
        "damaged" in results["broken"]["problem"]
        and "link" in results["link"]["problem"]
        and "at most 20" in results["bomb--bomb"]["problem"]
    )


def test_keys_are_file_names_and_never_the_same(tmp_path):
    for name in ("A b.ipynb", "a/b.ipynb", "a_b.ipynb", "ü" * 50 + ".ipynb"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    keys = [one.key for one in handed_in.find([tmp_path])]
    assert len({key.casefold() for key in keys}) == 4 and all(
        key.replace("-", "").replace("_", "").isalnum() and key.isascii() for key in keys
    )
