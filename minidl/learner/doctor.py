"""Will the course work on this machine, and how well?

    measure (cores, bytes, one real exchange)  ->  judge (a Finding: works or not, a sentence, the remedy)  ->  print

The judges take plain numbers, so that a test can ask about machines that it does not have. The one check that starts
processes is the course's own World: two ranks pass each other a tensor. Left out: speed (the notebooks measure it).
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
NEEDED_MEMORY = (
    1 * GB
)  # a kernel with torch and four forked ranks: 0.6 GB measured, and room to work
COMFORTABLE_MEMORY = 2 * GB  # four ranks started by spawn need 0.7 GB by themselves
NEEDED_DISK = GB // 2  # checkpoints and traces of the largest notebook
NEEDED_SHARED = 16 * MB  # what DataLoader workers of a small batch pass along
EXCHANGE_SECONDS = 60


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, whether the course works with it, and what to do if not."""

    name: str
    works: bool
    text: str
    remedy: str = ""


def examine():
    """Yield a Finding for each thing that the course needs. Takes a few seconds, most of them importing torch."""
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
    for finding in examine():
        print(
            f"{'ok' if finding.works else 'NO':<4}{finding.name:<15}{finding.text}",
            file=out,
            flush=True,
        )
        if not finding.works:
            failed += 1
            print(f"{'':<19}{finding.remedy}", file=out, flush=True)
    if failed:
        print(
            f"The course will not work here yet: see {'the line' if failed == 1 else f'the {failed} lines'} "
            "marked NO.",
            file=out,
        )
    else:
        print("The course will work here.", file=out)
    return 1 if failed else 0


# --- Judges: numbers in, a Finding out -------------------------------------------------------------------------


def judge_python(python, torch):
    """Python is new enough, and torch is there."""
    text = f"Python {'.'.join(map(str, python))}, torch {torch or 'missing'}"
    if python < (3, 10):
        return Finding("Python", False, text, "Install Python 3.10 or newer.")
    return Finding(
        "Python",
        bool(torch),
        text,
        "Run `python3 start.py`, or `pip install -e .` in the minidl folder.",
    )


def judge_cores(cores):
    """Any number will do; what differs is what timings mean."""
    if cores >= RANKS:
        text = f"{RANKS} ranks on {cores} cores: each has a core of its own"
    elif cores > 1:
        text = f"{RANKS} ranks on {cores} cores: works, but they take turns; up to {cores} ranks can be faster than one"
    else:
        text = f"{RANKS} ranks on 1 core: works, but they take turns; no number of ranks will be faster than one"
    return Finding("cores", True, text)


def judge_gpus(names, nccl):
    """No GPU is needed. Yields a line for the GPUs and one for NCCL."""
    if not names:
        yield Finding("GPUs", True, "none: ranks run on the CPU, and the course needs nothing more")
        yield Finding(
            "NCCL", True, "not used: it needs a GPU for each rank; gloo carries the messages"
        )
        return
    count = len(names)
    yield Finding(
        "GPUs",
        True,
        f"{count} ({', '.join(sorted(set(names)))}): worlds of more ranks run on the CPU",
    )
    if nccl is None:
        yield Finding("NCCL", True, "not part of this torch: gloo carries the messages")
    elif count == 1:
        yield Finding(
            "NCCL", True, f"{nccl}, but it refuses two ranks on one GPU: gloo carries the messages"
        )
    else:
        yield Finding(
            "NCCL", True, f"{nccl}: used for up to {count} ranks, each on a GPU of its own"
        )


def judge_memory(free):
    """None means that it could not be found out."""
    if free is None:
        return Finding(
            "memory",
            True,
            f"could not be measured; {RANKS} ranks need about {NEEDED_MEMORY / GB:.0f} GB",
        )
    text = f"{free / GB:.1f} GB free"
    if free < NEEDED_MEMORY:
        return Finding(
            "memory",
            False,
            f"{text}: not enough for {RANKS} ranks",
            f"Close other programs or notebooks until {NEEDED_MEMORY / GB:.0f} GB are free.",
        )
    if free < COMFORTABLE_MEMORY:
        return Finding(
            "memory",
            True,
            f"{text}: enough for {RANKS} ranks; shut down notebooks that you have finished",
        )
    return Finding("memory", True, f"{text}: enough for {RANKS} ranks and more")


def judge_disk(free):
    """Room for what the notebooks write into this folder."""
    return Finding(
        "disk",
        free >= NEEDED_DISK,
        f"{free / GB:.1f} GB free in this folder",
        f"Free some space: the notebooks write up to {NEEDED_DISK / GB:.1f} GB.",
    )


def judge_shared_memory(works, size):
    """Ranks publish what they wait for in a shared file; DataLoader workers use /dev/shm where there is one."""
    if not works:
        return Finding(
            "shared memory",
            False,
            "a file in the temporary folder cannot be shared between processes",
            "Set TMPDIR to a folder on a local disk that you may write to.",
        )
    if size is not None and size < NEEDED_SHARED:
        return Finding(
            "shared memory",
            False,
            f"{size / MB:.0f} MB free in /dev/shm",
            "In Docker: start the container with --shm-size=1g.",
        )
    return Finding(
        "shared memory",
        True,
        "works" if size is None else f"works, {size / MB:.0f} MB free in /dev/shm",
    )


def judge_start(has_fork, system):
    """How a rank comes to be."""
    if has_fork:
        return Finding(
            "starting ranks", True, "fork from a process that has torch loaded: about 0.1 s a world"
        )
    return Finding(
        "starting ranks",
        True,
        f"spawn, since {system} has no fork: about 3 s a world, once a notebook",
    )


def judge_kernels(platform_name, jupyterlab, ipykernel):
    """A kernel inside the browser (JupyterLite, Pyodide) has no processes, so no ranks."""
    if platform_name in ("emscripten", "wasi"):
        return Finding(
            "kernels",
            False,
            "this Python runs inside the browser, where there are no processes",
            "Run `python3 start.py` on a computer of your own, or open the course on Binder.",
        )
    if not (jupyterlab and ipykernel):
        missing = "jupyterlab" if not jupyterlab else "ipykernel"
        return Finding(
            "kernels",
            False,
            f"{missing} is missing",
            "Run `python3 start.py`, or `pip install -e .`.",
        )
    return Finding(
        "kernels",
        True,
        f"JupyterLab {jupyterlab}, ipykernel {ipykernel}: kernels run on this machine; "
        "kernels inside the browser (JupyterLite) cannot start ranks",
    )


def judge_exchange(seconds, trouble):
    """The real thing: two ranks of a World passed each other a tensor over gloo."""
    if trouble is None:
        return Finding(
            "gloo",
            True,
            f"two ranks passed each other a tensor, {seconds:.1f} s with starting them",
        )
    return Finding(
        "gloo",
        False,
        f"two ranks could not pass each other a tensor: {trouble}",
        "Allow connections of this machine with itself (127.0.0.1) in the firewall. If that is not it, "
        "please report this line.",
    )


# --- Measurements ----------------------------------------------------------------------------------------------


def installed(package):
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def usable_cores():
    """The cores that this process may use: its affinity and its container's quota count."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota, _, period = (read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return max(1, min(cores, int(quota) // int(period))) if quota.isdigit() and period else cores


def gpus():
    """(names of the CUDA GPUs, version of NCCL or None)."""
    try:
        import torch
    except ImportError:
        return [], None
    if not torch.cuda.is_available():
        return [], None
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    has_nccl = torch.distributed.is_available() and torch.distributed.is_nccl_available()
    return names, ".".join(map(str, torch.cuda.nccl.version())) if has_nccl else None


def free_memory():
    """Bytes that new processes can have, or None where it cannot be found out. A container's limit counts."""
    fields = dict(line.split(":", 1) for line in (read("/proc/meminfo") or "").splitlines())
    if "MemAvailable" in fields:
        free = int(fields["MemAvailable"].split()[0]) * 1024
        limit, used = (
            read("/sys/fs/cgroup/memory.max") or "max",
            read("/sys/fs/cgroup/memory.current") or "0",
        )
        return min(free, int(limit) - int(used)) if limit.isdigit() else free
    return {"Darwin": free_memory_macos, "Windows": free_memory_windows}.get(
        platform.system(), lambda: None
    )()


def free_memory_macos():
    """Free and inactive pages as `vm_stat` tells them, or None."""
    try:
        told = subprocess.run(["vm_stat"], capture_output=True, text=True, timeout=10).stdout
    except OSError:
        return None
    page = re.search(r"page size of (\d+)", told)
    pages = re.findall(r"Pages (?:free|inactive|speculative): +(\d+)", told)
    return int(page[1]) * sum(map(int, pages)) if page else None


def free_memory_windows():
    """Free physical memory as GlobalMemoryStatusEx tells it."""
    import ctypes

    told = (
        ctypes.c_ulonglong * 8
    )()  # dwLength and dwMemoryLoad share the first; [2] is ullAvailPhys
    told[0] = ctypes.sizeof(told)
    return told[2] if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(told)) else None


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
    """Free bytes in /dev/shm, or None where the system has no such folder."""
    return shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None


def exchange_between_ranks():
    """(seconds, None) if two ranks passed each other a tensor, else (seconds, what went wrong)."""
    began = time.perf_counter()
    try:
        from minidl import World

        with World(2) as world:
            received = [int(got) for got in world.run(share, timeout=EXCHANGE_SECONDS).results]
        trouble = None if received == [1, 0] else f"they received {received} in place of [1, 0]"
    except Exception as error:  # whatever it is, the report must go on
        trouble = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return time.perf_counter() - began, trouble


def share(comm):
    """Every rank returns its left neighbour's rank."""
    import torch

    return comm.exchange(torch.tensor([comm.rank]), to=comm.right, source=comm.left)


def read(path):
    """The text of a small system file without its line end, or None."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
