#!/usr/bin/env python3
"""From a bare machine to an open notebook: what has to happen before the first cell can run?

    python3 start.py              .venv -> pinned packages -> work/ -> JupyterLab
    python3 start.py test         .venv -> pinned packages -> work/ -> pytest
                                  (what follows `test` goes to pytest)
    python3 start.py --fresh 01   puts a clean copy of notebook 01 beside yours, and ends

Needs Python 3.10 or newer and nothing else. Even Python 3.6 can read this file, so that an old
Python fails with a sentence and not with a syntax error. Left out: conda, for which there is
environment.yml.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 10)
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 3
FIRST_NOTEBOOK = "00_start_here.ipynb"
WORKERS = ["-n", "logical", "--maxprocesses", "4"]  # of the tests; `start.py test -n0` has none
STAMP = "minidl-setup.json"  # inside .venv: what was installed, or that pip is still at work
NEEDED_BYTES = int(2.5e9)  # 1.5 GB with the CPU wheel of torch, and room for pip to unpack
NEEDED_BYTES_CUDA = int(10e9)  # the CUDA libraries that the plain wheel brings along


class SetupError(Exception):
    """A sentence for the learner: what is wrong, and the remedy."""


# --- What this machine can do ---------------------------------------------------------------------


def check_machine():
    """Raise SetupError if minidl cannot be set up, before anything is written."""
    if sys.maxsize < 2**32:
        raise SetupError(
            "This is a 32-bit Python, and PyTorch needs a 64-bit one. "
            "Install that and call it instead."
        )
    system, machine = platform.system(), platform.machine().lower()
    if system == "Darwin" and machine == "x86_64":
        raise SetupError(
            "PyTorch 2.13 has no wheel for Macs with an Intel processor. Use a Mac with Apple "
            "silicon, Linux or Windows. (If this Mac has Apple silicon, its Python is an Intel "
            "one: install the universal2 or arm64 one.)"
        )
    if system == "Windows" and machine == "arm64":
        raise SetupError(
            "PyTorch 2.13 has no wheel for Windows on ARM. Install the x86-64 Python, or use WSL2."
        )
    try:
        import ensurepip  # noqa: F401  Debian ships Python without these two
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "This Python cannot make virtual environments: its module ensurepip or venv is "
            "missing. On Debian and Ubuntu: sudo apt install python3-venv. "
            "Then call start.py again."
        ) from None


def check_disk(folder):
    """Raise SetupError if a new environment would not fit."""
    cuda = platform.system() == "Linux" and has_nvidia_driver()
    needed = NEEDED_BYTES_CUDA if cuda else NEEDED_BYTES
    free = shutil.disk_usage(str(folder)).free
    if free < needed:
        raise SetupError(
            "The disk is too full: %.1f GB are free in %s, and the set-up needs %.1f GB. "
            "Free some space and call start.py again." % (free / 1e9, folder, needed / 1e9)
        )


def has_nvidia_driver():
    """True if an NVIDIA driver is loaded, so that torch with CUDA is useful."""
    return os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi") is not None


def answers(url, seconds=PROBE_SECONDS):
    """True if the address answers within `seconds`.

    A thread asks, because looking up a name has no time-out.
    """
    found = []

    def ask():
        with contextlib.suppress(Exception):
            urllib.request.urlopen(url, timeout=seconds).close()
            found.append(url)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(found)


# --- Running a step and showing that it is alive --------------------------------------------------


def run_step(title, command, log):
    """Run a command and show its newest line beside the seconds. Returns (exit code, output).

    On a terminal one line is redrawn each second; elsewhere (CI) a line appears every ten seconds.
    """
    began = shown = time.monotonic()
    env = dict(
        os.environ,
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PIP_USER="0",
        PYTHONUNBUFFERED="1",
    )
    child = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
        env=env,
    )
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(child.stdout, lines), daemon=True).start()
    output, newest, line = [], "", ""
    try:
        while line is not None:
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=0.5)
                output.append(line or "")
                log.write(line or "")
                newest = condensed(line or "") or newest
            shown = show(title, newest, began, shown)
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    clear_line()
    say("  %s: %s, %.0f s" % (title, "done" if code == 0 else "failed", time.monotonic() - began))
    return code, "".join(output)


def read_lines(file, lines):
    """Put each line of the file into the queue, and None at the end."""
    for line in file:
        lines.put(line)
    lines.put(None)


def condensed(line):
    """What pip is doing, in a few words; empty for other lines."""
    line = re.sub(r" \(from .*", "", line.strip())
    if line.startswith("Installing collected packages:"):
        return "installing %d packages" % (line.count(",") + 1)
    return (
        line
        if line.startswith(("Collecting ", "Downloading ", "Building ", "WARNING: Retrying"))
        else ""
    )


def show(title, newest, began, shown):
    """Show the state of a step if it is time to. Returns when it was last shown."""
    now = time.monotonic()
    if now - shown < (0.5 if sys.stdout.isatty() else 10):
        return shown
    text = "  %s: %.0f s  %s" % (title, now - began, newest)
    if sys.stdout.isatty():
        clear_line()
        sys.stdout.write(text[: shutil.get_terminal_size().columns - 1])
        sys.stdout.flush()
    else:
        say(text)
    return now


def clear_line():
    """On a terminal, wipe the line that show() draws."""
    if sys.stdout.isatty():
        sys.stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")


def say(text):
    """Print a line at once."""
    print(text, flush=True)


# --- The environment ------------------------------------------------------------------------------


def set_up(root, with_tests):
    """Install the pinned packages in .venv, unless they are there. Returns its Python."""
    venv = root / ".venv"
    wanted = fingerprint(root)
    stamp = read_json(venv / STAMP)
    if is_ready(venv, stamp, wanted, with_tests):
        return python_of(venv)
    check_machine()
    with only_one(root):
        reusable = (
            stamp.get("state") == "ready"
            and stamp.get("place") == wanted["place"]
            and runs(python_of(venv))
        )
        say("Setting up minidl in %s (once; later calls start at once)" % venv)
        began = time.monotonic()
        if not reusable:
            make_venv(venv)
        write_json(venv / STAMP, {"state": "installing"})
        try:
            with open(str(venv / "minidl-setup.log"), "a", encoding="utf-8") as log:
                install(root, python_of(venv), with_tests or stamp.get("tests", False), log)
        except SetupError:
            if reusable:  # pip ended by itself, so the old packages are still there
                write_json(venv / STAMP, stamp)
            raise
        write_json(
            venv / STAMP, dict(wanted, state="ready", tests=with_tests or stamp.get("tests", False))
        )
        say("Set up in %.0f s." % (time.monotonic() - began))
    return python_of(venv)


def fingerprint(root):
    """What an environment is for: these pins (`inputs`), this Python in this folder (`place`)."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((root / name).read_bytes())
    return {
        "inputs": digest.hexdigest(),
        "place": "Python %d.%d in %s" % (sys.version_info[:2] + (root,)),
    }


def is_ready(venv, stamp, wanted, with_tests):
    """True if the last set-up ended well, was for the same pins, and its Python still exists."""
    same = stamp.get("state") == "ready" and all(
        stamp.get(key) == value for key, value in wanted.items()
    )
    return same and (stamp.get("tests") or not with_tests) and python_of(venv).exists()


def python_of(venv):
    """The path of the environment's Python, which need not exist yet."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def runs(python):
    """True if this Python has a working pip.

    It has none if its base was removed or pip was interrupted.
    """
    try:
        code = subprocess.call(
            [str(python), "-m", "pip", "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return False
    return code == 0


def make_venv(venv):
    """Make an empty environment, in place of a broken or outdated one of ours."""
    if venv.is_dir() and any(venv.iterdir()) and not (venv / STAMP).exists():
        raise SetupError(
            "%s exists, and start.py did not make it. Rename or delete it, then call again." % venv
        )
    if venv.exists():
        shutil.rmtree(str(venv))
    check_disk(venv.parent)
    venv.mkdir()
    # The stamp is written first, so that an interrupted set-up is known as ours.
    write_json(venv / STAMP, {"state": "installing"})
    inside = os.path.realpath(sys.prefix) == str(venv)
    python = getattr(sys, "_base_executable", sys.executable) if inside else sys.executable
    with open(str(venv / "minidl-setup.log"), "a", encoding="utf-8") as log:
        code, output = run_step("making .venv", [python, "-m", "venv", venv], log)
    if code != 0:
        raise SetupError(explain(output, venv))


def install(root, python, with_tests, log):
    """Install torch, then everything else that requirements.txt and pyproject.toml pin."""
    pip = [python, "-m", "pip", "install", "--progress-bar", "off"]
    if platform.system() == "Linux" and not has_nvidia_driver():
        say("  no NVIDIA driver: looking for the small CPU wheel of torch")
        if not answers(TORCH_CPU_INDEX + "/torch/"):
            say("  PyTorch's own index does not answer: pip uses the index that it is set to")
        else:
            command = pip + ["--extra-index-url", TORCH_CPU_INDEX, TORCH]
            code, _ = run_step("installing torch for the CPU", command, log)
            if code != 0:
                say("  that did not work: pip uses the index that it is set to")
    package = ("%s[test]" if with_tests else "%s") % root
    code, output = run_step(
        "installing packages", pip + ["-r", root / "requirements.txt", "-e", package], log
    )
    if code != 0:
        raise SetupError(explain(output, log.name))


# The first pattern found in the output of venv or pip names the trouble.
REMEDIES = (
    (
        r"No space left on device|not enough space on the disk|Disk quota exceeded",
        "The disk became full. Free some space (about 2.5 GB here; pip also unpacks in the "
        "temporary folder, which the variable TMPDIR can move) and call start.py again.",
    ),
    (
        r"ensurepip is not available|No module named '?(ensurepip|venv)",
        "This Python cannot make virtual environments. On Debian and Ubuntu: "
        "sudo apt install python3-venv. Then call start.py again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The package index's certificate could not be checked. If your network inspects traffic, "
        "set PIP_CERT to its certificate file and call start.py again.",
    ),
    (
        r"NewConnectionError|NameResolutionError|Network is unreachable"
        r"|[Nn]ame or service not known|getaddrinfo failed"
        r"|Temporary failure in name resolution|ConnectTimeout|ReadTimeout|ProxyError"
        r"|Connection (refused|reset|broken)",
        "The package index could not be reached: there is no network, or a proxy blocks it. "
        "Connect (or set HTTPS_PROXY) and call start.py again; what was downloaded is kept.",
    ),
    (
        r"No matching distribution found for torch|torch.* is not a supported wheel",
        "There is no wheel of torch 2.13.0 for this machine ({machine}, Python {python}). It needs "
        "Python 3.10 to 3.14 on Linux with glibc, on Windows x86-64, or on a Mac with Apple "
        "silicon.",
    ),
    (
        r"(?:No matching distribution found for |Package ')(?P<name>[^\s']+)"
        r"(?:' requires a different Python)?",
        "The package index has no {name} for Python {python}. Use Python 3.11 or newer, or an "
        "index that is up to date.",
    ),
    (
        r"Permission denied|Access is denied",
        "A file could not be written: permission denied. "
        "Call start.py from a folder that is yours.",
    ),
    (
        r"MemoryError|Cannot allocate memory",
        "There was not enough memory to install the packages. "
        "Close other programs and call start.py again.",
    ),
)


def explain(output, log):
    """One sentence for what went wrong in this output of pip or venv."""
    for pattern, sentence in REMEDIES:
        match = re.search(pattern, output)
        if match:
            machine = "%s %s" % (platform.system(), platform.machine())
            return sentence.format(
                machine=machine, python=platform.python_version(), **match.groupdict()
            )
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    last = (errors or output.split("\n"))[-1].strip()
    return "The set-up failed (%s). The whole output is in %s. Call start.py again to retry." % (
        last[:200],
        log,
    )


@contextlib.contextmanager
def only_one(root):
    """Hold a lock on this file, so that two calls do not install into one .venv.

    Does nothing on Windows.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(str(root / "start.py"), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                "Another start.py is setting up this folder. "
                "Wait until it has ended, then call again."
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


# --- The learner's copies -------------------------------------------------------------------------


def cleared(notebook):
    """The notebook's bytes without outputs, execution counts and widget state.

    They would spoil the learner's predictions.
    """
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if cell["cell_type"] == "code":
            cell["outputs"] = []
            cell["execution_count"] = None
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def course_notebooks(root):
    """Yield (name in work/, bytes) of each notebook, and of each exercise as exercises/NAME.

    They are cleared, and their links lead to the learner's copies.
    """
    for folder, place in (("notebooks", ""), ("exercises", "exercises/")):
        for path in sorted((root / folder).rglob("*.ipynb")):
            if ".ipynb_checkpoints" in path.parts:
                continue
            try:
                notebook = json.loads(path.read_text(encoding="utf-8"))
                yield (
                    place + path.relative_to(root / folder).as_posix(),
                    cleared(at_home(notebook, place)),
                )
            except (ValueError, KeyError, TypeError):
                raise SetupError(
                    "%s is not a notebook any more. Restore it: git checkout -- %s" % (path, path)
                ) from None


def at_home(notebook, place):
    """The notebook with links to notebooks and exercises that lead to the copies in work/."""
    up = "../" * place.count("/")
    homes = [
        (r"\]\(\.\./exercises/", "](" + up + "exercises/"),
        (r"\]\(\.\./notebooks/(?=[^)#]*\.ipynb)", "](" + up),
        (r"\]\(\.\./notebooks/(?=glossary)", "](" + up + "../notebooks/"),
    ]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            lines = [cell["source"]] if isinstance(cell["source"], str) else cell["source"]
            for link, home in homes:
                lines = [re.sub(link, home, line) for line in lines]
            cell["source"] = lines[0] if isinstance(cell["source"], str) else lines
    return notebook


def copy_notebooks(root):
    """Copy the notebooks and exercises to work/. A file that the learner changed is kept.

    work/.minidl.json remembers the hash of each copy as it was written. A copy that still has this
    hash was never changed and may follow the course; a newer version of a changed one is mentioned.
    """
    work = root / "work"
    known = read_json(work / ".minidl.json")
    before = dict(known)
    for name, data in course_notebooks(root):
        copy = work / name
        newest = digest_of(data)
        if not copy.exists():
            write_bytes(copy, data)
            known[name] = newest
        elif known.get(name) != newest:
            mine = digest_of(copy.read_bytes())
            if mine in (newest, known.get(name)):
                write_bytes(copy, data)
                known[name] = newest
            else:
                say(
                    "  work/%s: the course has a newer version, and yours is kept. To put the "
                    "newer one beside it: python3 start.py --fresh %s"
                    % (name, name[: -len(".ipynb")])
                )
    if known != before:
        write_json(work / ".minidl.json", known)


def copy_fresh(root, wanted):
    """Put a clean copy of the notebooks whose name starts with `wanted` beside the learner's."""
    known = read_json(root / "work" / ".minidl.json")
    found = [(name, data) for name, data in course_notebooks(root) if name.startswith(wanted)]
    if not found:
        raise SetupError(
            "No notebook of the course starts with %r. They are: %s"
            % (wanted, ", ".join(name for name, _ in course_notebooks(root)))
        )
    for name, data in found:
        copy = free_name(root / "work" / name)
        write_bytes(copy, data)
        known[name] = digest_of(data)  # the learner has this version now
        say("%s is new; your own file is unchanged." % copy.relative_to(root))
    write_json(root / "work" / ".minidl.json", known)


def free_name(path):
    """A path that does not exist: `path`, `name (fresh).ipynb`, `name (fresh 2).ipynb`, ..."""
    number = 1
    candidate = path
    while candidate.exists():
        candidate = path.with_name(
            "%s (fresh%s)%s" % (path.stem, "" if number == 1 else " %d" % number, path.suffix)
        )
        number += 1
    return candidate


def digest_of(data):
    """The SHA-256 of these bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_json(path):
    """The dict in this file, or an empty one if the file is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path, value):
    """Write a dict so that it can be read and compared by people too."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def write_bytes(path, data):
    """Write aside and rename, so that an interruption leaves no half-written file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(data)
    os.replace(str(aside), str(path))


# --- What the call was for ------------------------------------------------------------------------


def answer_for_news(venv):
    """Answer JupyterLab's question whether it may fetch news; a flag does not prevent it."""
    notification = {"fetchNews": "false", "checkForUpdates": False}
    write_json(
        venv / "share/jupyter/lab/settings/overrides.json",
        {"@jupyterlab/apputils-extension:notification": notification},
    )


def lab_command(root, python, port, browser):
    """JupyterLab on this machine only, with its token, and without requests to the network."""
    first = "/tree/work/" + FIRST_NOTEBOOK if (root / "work" / FIRST_NOTEBOOK).exists() else ""
    command = [
        python,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=%d" % port,
        "--ServerApp.root_dir=%s" % root,
        "--LabApp.default_url=/lab%s" % first,
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--ServerApp.answer_yes=True",
        "--Application.log_level=ERROR",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--ServerApp.allow_root=True")
    return command + ([] if browser else ["--no-browser"])


def become(command, folder):
    """Continue as this command, so that its exit code and signals are ours.

    Windows cannot do that: this process waits for the command there.
    """
    command = [str(word) for word in command]
    os.chdir(str(folder))
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the child gets it too, and ends
            return child.wait()


def parse(argv):
    """The options, and after `test` what goes to pytest."""
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="Set up minidl in .venv and open the course in JupyterLab.",
        epilog="python3 start.py test [...]: set up, then run the whole suite; "
        "what follows goes to pytest.",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only say the address, open no browser"
    )
    parser.add_argument("--port", type=int, default=8888, help="first port to try (8888)")
    parser.add_argument(
        "--fresh", metavar="NOTEBOOK", help="put a clean copy of a notebook beside yours, and end"
    )
    testing = argv[:1] == ["test"]
    return parser.parse_args([] if testing else argv), (argv[1:] if testing else None)


def start(argv):
    """Do what the call asks for. Returns the exit code.

    Usually it does not return: this process becomes JupyterLab or pytest.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            "minidl needs Python 3.10 or newer, and this is Python %s. Install a newer one and "
            "call it, for example: python3.11 start.py" % platform.python_version()
        )
    options, pytest_arguments = parse(argv)
    if options.fresh:
        return copy_fresh(ROOT, options.fresh)
    python = set_up(ROOT, with_tests=pytest_arguments is not None)
    copy_notebooks(ROOT)
    if pytest_arguments is not None:
        say("Running the tests in %s" % ROOT)
        return become([python, "-m", "pytest"] + WORKERS + pytest_arguments, ROOT)
    say(
        "Opening JupyterLab on work/%s. Its address is below; Ctrl-C here ends it." % FIRST_NOTEBOOK
    )
    answer_for_news(ROOT / ".venv")
    return become(lab_command(ROOT, python, options.port, not options.no_browser), ROOT)


def main(argv):
    """Run start(). A failure is a sentence and an exit code that is not 0."""
    try:
        return start(argv) or 0
    except SetupError as error:
        message = str(error)
    except KeyboardInterrupt:
        clear_line()
        say("Stopped. The next call sets up what is missing.")
        return 130
    except OSError as error:
        message = "%s: %s. Repair that and call start.py again." % (
            error.filename or "The system said",
            error.strerror,
        )
        if error.errno == errno.ENOSPC:
            message = REMEDIES[0][1]
    sys.stdout.flush()
    print("start.py: " + message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
