"""Will the course work on this machine, and how well?

    measure (cores, bytes, one real exchange)  ->  judge (a Finding)  ->  print

A Finding says whether the course works with what was measured, in a sentence, and the remedy. The
judges take plain numbers, so that a test can ask about machines that it does not have. One check
starts processes, as the course does: two ranks of a World pass each other a tensor. Left out: speed
(the notebooks measure it).
"""

import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RANKS = 4  # what most notebooks start
GB = 10**9
MB = 10**6
NEEDED_MEMORY = 1 * GB  # a kernel with torch and four forked ranks take 0.6 GB; and room to work
COMFORTABLE_MEMORY = 2 * GB  # four ranks started by spawn need 0.7 GB by themselves
NEEDED_DISK = GB // 2  # checkpoints and traces of the largest notebook
NEEDED_SHARED = 16 * MB  # what DataLoader workers of a small batch exchange
EXCHANGE_SECONDS = 60


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str  # of what was looked at
    works: bool  # does the course work with it?
    text: str
    remedy: str = ""  # what to do if it does not


def examine_machine():
    """Yield a Finding for each thing that the course needs.

    Takes a few seconds, most of them for importing torch.
    """
    yield judge_python(sys.version_info[:3], installed("torch"))
    yield judge_cores(usable_cores())
    yield from judge_gpus(*gpus())
    yield judge_memory(free_memory())
    yield judge_disk(shutil.disk_usage(os.getcwd()).free)
    yield judge_shared_memory(can_share_memory(), shared_memory_size())
    yield judge_start(hasattr(os, "fork"), platform.system())
    yield judge_kernels(sys.platform, installed("jupyterlab"), installed("ipykernel"))
    yield judge_exchange(*exchange_between_ranks())


def main(out=None):
    """Print the report. Returns 0 if the course will work here, else 1."""
    failed = 0
    for finding in examine_machine():
        mark = "ok" if finding.works else "NO"
        print(f"{mark:<4}{finding.name:<15}{finding.text}", file=out, flush=True)
        if not finding.works:
            failed += 1
            print(f"{'':<19}{finding.remedy}", file=out, flush=True)
    if not failed:
        print("The course will work here.", file=out)
        return 0
    lines = "the line" if failed == 1 else f"the {failed} lines"
    print(f"The course will not work here yet: see {lines} marked NO.", file=out)
    return 1


# --- Judges: numbers in, a Finding out ------------------------------------------------------------


def judge_python(python, torch):
    """Python is new enough, and torch is installed."""
    text = f"Python {'.'.join(map(str, python))}, torch {torch or 'missing'}"
    # The version of Python comes first: an old one cannot install torch.
    if python < (3, 10):
        return Finding("Python", False, text, "Install Python 3.10 or newer.")
    remedy = "Run `python3 start.py`, or `pip install -e .` in the minidl folder."
    return Finding("Python", bool(torch), text, remedy)


def judge_cores(cores):
    """Any number is enough; the number decides what timings mean."""
    if cores >= RANKS:
        verdict = "each has a core of its own"
    elif cores > 1:
        verdict = f"works, but they take turns; up to {cores} ranks can be faster than one"
    else:
        verdict = "works, but they take turns; no number of ranks will be faster than one"
    noun = "core" if cores == 1 else "cores"
    return Finding("cores", True, f"{RANKS} ranks on {cores} {noun}: {verdict}")


def judge_gpus(names, nccl):
    """No GPU is needed. Yields a line for the GPUs and one for NCCL."""
    count = len(names)
    # Without a GPU, both lines say what is used instead.
    if not names:
        text = "none: ranks run on the CPU, and the course needs nothing more"
        nccl_text = "not used: it needs a GPU for each rank; gloo carries the messages"
    else:
        kinds = ", ".join(sorted(set(names)))
        text = f"{count} ({kinds}): worlds of more ranks run on the CPU"
        if nccl is None:
            nccl_text = "not part of this torch: gloo carries the messages"
        elif count == 1:
            nccl_text = f"{nccl}, but it refuses two ranks on one GPU: gloo carries the messages"
        else:
            nccl_text = f"{nccl}: used for up to {count} ranks, each on a GPU of its own"
    yield Finding("GPUs", True, text)
    yield Finding("NCCL", True, nccl_text)


def judge_memory(free):
    """Bytes that new processes can have; None if unknown."""
    needed = f"{NEEDED_MEMORY / GB:.0f} GB"
    remedy = f"Close other programs or notebooks until {needed} are free."
    # Some systems do not tell how much is free; that is no reason to fail.
    if free is None:
        text = f"could not be measured; {RANKS} ranks need about {needed}"
        return Finding("memory", True, text)
    if free < NEEDED_MEMORY:
        verdict = f"not enough for {RANKS} ranks"
    elif free < COMFORTABLE_MEMORY:
        verdict = f"enough for {RANKS} ranks; shut down notebooks that you have finished"
    else:
        verdict = f"enough for {RANKS} ranks and more"
    return Finding("memory", free >= NEEDED_MEMORY, f"{free / GB:.1f} GB free: {verdict}", remedy)


def judge_disk(free):
    """Room for what the notebooks write into this folder."""
    works = free >= NEEDED_DISK
    text = f"{free / GB:.1f} GB free in this folder"
    remedy = f"Free some space: the notebooks write up to {NEEDED_DISK / GB:.1f} GB."
    return Finding("disk", works, text, remedy)


def judge_shared_memory(works, size):
    """Ranks publish in a shared file what they wait for; DataLoader workers use /dev/shm.

    size: bytes free in /dev/shm, None if the system has no such folder.
    """
    if not works:
        text = "a file in the temporary folder cannot be shared between processes"
        remedy = "Set TMPDIR to a folder on a local disk that you may write to."
        return Finding("shared memory", False, text, remedy)
    if size is None:
        return Finding("shared memory", True, "works")
    # In a container /dev/shm often has 64 MB or less.
    free = f"{size / MB:.0f} MB free in /dev/shm"
    if size < NEEDED_SHARED:
        remedy = "In Docker: start the container with --shm-size=1g."
        return Finding("shared memory", False, free, remedy)
    return Finding("shared memory", True, f"works, {free}")


def judge_start(has_fork, system):
    """How ranks are started."""
    if has_fork:
        text = "fork from a process that has torch loaded: about 0.1 s a world"
    else:
        text = f"spawn, since {system} has no fork: about 3 s a world, once a notebook"
    return Finding("starting ranks", True, text)


def judge_kernels(platform_name, jupyterlab, ipykernel):
    """A kernel inside the browser (JupyterLite, Pyodide) has no processes, so no ranks."""
    if platform_name in ("emscripten", "wasi"):
        text = "this Python runs inside the browser, where there are no processes"
        remedy = "Run `python3 start.py` on a computer of your own, or open the course on Binder."
        return Finding("kernels", False, text, remedy)
    # The remedy is the same for both, so the first one is enough.
    for package, found in (("jupyterlab", jupyterlab), ("ipykernel", ipykernel)):
        if not found:
            remedy = "Run `python3 start.py`, or `pip install -e .`."
            return Finding("kernels", False, f"{package} is missing", remedy)
    text = (
        f"JupyterLab {jupyterlab}, ipykernel {ipykernel}: kernels run on this machine;"
        " kernels inside the browser (JupyterLite) cannot start ranks"
    )
    return Finding("kernels", True, text)


def judge_exchange(seconds, trouble):
    """The real thing: two ranks of a World passed each other a tensor over gloo."""
    if trouble is None:
        text = f"two ranks passed each other a tensor, {seconds:.1f} s with starting them"
        return Finding("gloo", True, text)
    remedy = (
        "Allow connections of this machine with itself (127.0.0.1) in the firewall."
        " If that does not help, please report this line."
    )
    return Finding(
        "gloo", False, f"two ranks could not pass each other a tensor: {trouble}", remedy
    )


# --- Measurements ---------------------------------------------------------------------------------


def installed(package):
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def usable_cores():
    """The cores that this process may use: its affinity and its container's quota count."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    # cgroup v2: "150000 100000" are one and a half cores, "max 100000" is no limit.
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota.isdigit() and period:
        cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def gpus():
    """(names of the CUDA GPUs, version of NCCL or None)."""
    try:
        import torch
    except ImportError:
        return [], None
    if not torch.cuda.is_available():
        return [], None
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.distributed.is_available() and torch.distributed.is_nccl_available():
        return names, ".".join(map(str, torch.cuda.nccl.version()))
    return names, None


def free_memory():
    """Bytes that new processes can have, or None if unknown. A container's limit counts."""
    # Unlike MemFree, MemAvailable counts the caches that the system can drop.
    fields = dict(line.split(":", 1) for line in (_read("/proc/meminfo") or "").splitlines())
    if "MemAvailable" in fields:
        free = int(fields["MemAvailable"].split()[0]) * 1024
        limit = _read("/sys/fs/cgroup/memory.max") or "max"
        used = _read("/sys/fs/cgroup/memory.current") or "0"
        return min(free, int(limit) - int(used)) if limit.isdigit() else free
    if platform.system() == "Darwin":
        return free_memory_macos()
    if platform.system() == "Windows":
        return free_memory_windows()
    return None


def free_memory_macos():
    """Free and inactive bytes according to `vm_stat`, or None."""
    try:
        report = subprocess.run(["vm_stat"], capture_output=True, text=True, timeout=10).stdout
    except OSError:
        return None
    page = re.search(r"page size of (\d+)", report)
    pages = re.findall(r"Pages (?:free|inactive|speculative): +(\d+)", report)
    return int(page[1]) * sum(map(int, pages)) if page else None


def free_memory_windows():
    """Free physical memory according to GlobalMemoryStatusEx."""
    import ctypes

    # MEMORYSTATUSEX: dwLength and dwMemoryLoad share the first number; [2] is ullAvailPhys.
    status = (ctypes.c_ulonglong * 8)()
    status[0] = ctypes.sizeof(status)
    succeeded = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status[2] if succeeded else None


def can_share_memory():
    """True if a file of the temporary folder can be mapped as shared memory."""
    try:
        with tempfile.TemporaryFile() as file:
            file.truncate(mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as shared:
                shared[0] = 1
        return True
    except (OSError, ValueError):
        return False


def shared_memory_size():
    """Free bytes in /dev/shm, or None if the system has no such folder."""
    return shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None


def exchange_between_ranks():
    """(seconds, None) if two ranks passed each other a tensor, else (seconds, what went wrong)."""
    # The time includes starting two processes, as a learner's first cell does.
    began = time.perf_counter()
    trouble = None
    try:
        from minidl import World

        with World(2) as world:
            run = world.run(_share, timeout=EXCHANGE_SECONDS)
        received = [int(rank) for rank in run.results]
        if received != [1, 0]:
            trouble = f"they received {received} in place of [1, 0]"
    except Exception as error:  # whatever it is, the report must go on
        first_line = str(error).strip().partition("\n")[0]
        trouble = f"{type(error).__name__}: {first_line}"
    return time.perf_counter() - began, trouble


def _share(comm):
    """Every rank returns its left neighbour's rank."""
    import torch

    return comm.exchange(torch.tensor([comm.rank]), to=comm.right, source=comm.left)


def _read(path):
    """The text of a small system file without its line end, or None."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
