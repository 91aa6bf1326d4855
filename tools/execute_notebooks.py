#!/usr/bin/env python3
"""Run the notebooks and store their outputs: the same sources give the same file.

    python tools/execute_notebooks.py             all of notebooks/
    python tools/execute_notebooks.py 00 01       those whose names begin so
    python tools/execute_notebooks.py --check     runs nothing; says which are not up to date, with
                                                  exit code 1 if any

A cell that raises, without the tag raises-exception, ends it, and so do text on stderr and a path
of this machine. Outputs of widgets are replaced by a sentence: without their kernel they would show
nothing.
"""

import argparse
import hashlib
import os
import queue
import re
import sys
import time
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
IN_PLACE_OF_A_WIDGET = "Run this cell to get its slider."
MACHINE_PATH = re.compile(
    r"/tmp/|ipykernel_\d|/home/|/Users/|site-packages|" + re.escape(str(FOLDER.parent))
)


class Unfit(Exception):
    """The notebook cannot be stored; the message says why."""


def notebooks(names):
    """The paths whose names begin with one of `names`; all without names."""
    found = [
        path
        for path in sorted(FOLDER.glob("*.ipynb"))
        if not names or path.name.startswith(tuple(names))
    ]
    if not found:
        raise SystemExit(f"no notebook in {FOLDER} begins with {' or '.join(names)}")
    return found


def digest(notebook):
    """A fingerprint of all sources and tags."""
    parts = [
        f"{cell.cell_type}\n{cell.metadata.get('tags', [])}\n{cell.source}"
        for cell in notebook.cells
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_current(notebook):
    """Do the outputs belong to the sources?"""
    return notebook.metadata.get("minidl", {}).get("executed") == digest(notebook)


def execute(notebook):
    """Run all cells in a fresh kernel in the notebooks' folder."""
    from nbclient import NotebookClient

    # The kernel inherits it: what ranks print is sorted.
    os.environ["MINIDL_OUTPUT"] = "sorted"
    # trim() drops the state of widgets: with store_widget_state=False, nbclient 0.11 fails on
    # Output widgets.
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.on_notebook_start = lambda notebook: look_again(client.kc.shell_channel)
    client.execute()


def look_again(channel, seconds=0.5):
    """Let the channel look for a reply again and again.

    nbclient sends the states of Output widgets by the socket on which it waits for a cell's reply.
    A send can swallow the sign that the reply has come, and the cell then seems to take until its
    time-out.
    """
    get = channel.get_msg

    async def get_msg(*, timeout=None):
        left = float("inf") if timeout is None else timeout
        while left > seconds:
            try:
                return await get(timeout=seconds)
            except queue.Empty:
                left -= seconds
        return await get(timeout=left)

    channel.get_msg = get_msg


def trim(notebook, prefix):
    """Remove what changes from one execution to the next and is not an output."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{prefix}-{number:02d}"
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data = {"text/plain": IN_PLACE_OF_A_WIDGET}
                output.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "minidl": {"executed": digest(notebook)},
    }
    notebook.nbformat = 4
    notebook.nbformat_minor = 5


def inspect(notebook):
    """Raise Unfit for outputs that should not be stored."""
    for cell in notebook.cells:
        raised = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        if "raises-exception" in cell.metadata.get("tags", []) and not raised:
            raise Unfit(f"cell {cell.id} carries the tag raises-exception and raised nothing")
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise Unfit(f"cell {cell.id} wrote to stderr: {output.text[:200]}")
            found = MACHINE_PATH.search(str(output))
            if found:
                raise Unfit(f"cell {cell.id} shows a path of this machine: {found[0]}")


def store(path):
    """Run one notebook and write it back; returns the seconds that it ran."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    trim(notebook, path.name.split("_")[0])
    began = time.perf_counter()
    execute(notebook)
    seconds = time.perf_counter() - began
    trim(notebook, path.name.split("_")[0])
    inspect(notebook)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return seconds


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 00")
    parser.add_argument(
        "--check", action="store_true", help="run nothing; say which notebooks are not up to date"
    )
    options = parser.parse_args(arguments)
    stale = []
    for path in notebooks(options.names):
        if options.check:
            if is_current(nbformat.read(path, as_version=4)):
                print(f"{path.name}: up to date")
            else:
                print(f"{path.name}: changed since it was last executed")
                stale.append(path)
            continue
        try:
            seconds = store(path)
        except Unfit as reason:
            raise SystemExit(f"{path.name}: {reason}") from None
        except Exception as error:  # nbclient's errors end with the cell and its traceback
            raise SystemExit(f"{path.name} did not run to its end:\n{error}") from None
        print(f"{path.name}: {seconds:.1f} s, {path.stat().st_size / 1000:.0f} kB")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
