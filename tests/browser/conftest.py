"""A JupyterLab of the tests' own, and a headless Chromium. Skipped, with its reason, where there is
no browser.
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

import pytest

from tests.deadlines import generous

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
COURSE = Path(__file__).resolve().parents[2]
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory, chromium):
    """The address of a JupyterLab that serves a copy of notebooks and exercises, and nothing of
    this user's settings.
    """
    folder = tmp_path_factory.mktemp("lab")
    for place in ("notebooks", "exercises"):
        (folder / place).mkdir()
        for path in (COURSE / place).glob("*.ipynb"):
            (folder / place / path.name).write_text(without_outputs(path), encoding="utf-8")
    (folder / ".minidl.json").write_text("{}")  # a learner's folder: passed answers are kept
    news = (
        folder
        / "settings"
        / "@jupyterlab"
        / "apputils-extension"
        / "notification.jupyterlab-settings"
    )
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    env |= {
        "MINIDL_OUTPUT": "sorted",
        "IPYTHONDIR": str(folder / "ipython"),
        **{
            f"JUPYTER_{what}_DIR": str(folder / what.lower())
            for what in ("CONFIG", "DATA", "RUNTIME")
        },
        **{
            f"JUPYTERLAB_{what}_DIR": str(folder / what.lower())
            for what in ("SETTINGS", "WORKSPACES")
        },
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--ServerApp.answer_yes=True",
    ]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until_it_answers(f"http://127.0.0.1:{port}/api", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        end(server.pid)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: none of " + ", ".join(NAMES) + " is on the PATH")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install 'minidl[test]'"
    )
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
    deadline = time.monotonic() + generous(seconds)
    while True:
        try:
            return urllib.request.urlopen(address, timeout=generous(5)).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"JupyterLab did not start:\n{log.read_text()[-3000:]}"
                ) from None
            time.sleep(0.2)


def end(pid, seconds=15):
    """End the process and all that it started; none of them outlives this call."""
    import psutil

    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    server.terminate()  # the server then shuts down its kernels, and they their ranks
    _, alive = psutil.wait_procs(family, timeout=generous(seconds))
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=generous(seconds))
