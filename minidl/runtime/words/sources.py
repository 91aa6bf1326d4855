"""Cell functions keep their source, and (file, line) becomes "In [3], line 4".

    kernel   linecache[/tmp/ipykernel_7/31.py]  --with the call-->  rank   linecache

There, tracebacks and inspect find the lines.
"""

import linecache
import os
import sys

from minidl.trace import Trace


def running_shell():
    """IPython's running shell, or None. Never imports IPython."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def in_notebook():
    """Does this process run cells?"""
    return running_shell() is not None


def learners_argv():
    """The arguments of the learner's script; of a notebook none, as those are Jupyter's own."""
    return sys.argv[:1] if in_notebook() else list(sys.argv)


def cell_sources(known):
    """{file: lines} of all cells that are not in the set `known` yet; adds them to `known`."""
    fresh = {}
    for name, entry in list(linecache.cache.items()):
        if name not in known and len(entry) == 4:  # a lazy entry has not been read
            _, modified, lines, _ = entry
            if modified is None or "ipykernel" in name:
                fresh[name] = lines
    known.update(fresh)
    return fresh


def learn_sources(sources):
    """Make lines that came from the kernel known in this process, so that tracebacks show them."""
    for name, lines in sources.items():
        size = sum(map(len, lines))
        linecache.cache[name] = (size, None, lines, name)


def source_line(place):
    """The text of the line, stripped; empty when it cannot be found."""
    file, line = place
    linecache.checkcache(file)  # it may have been edited since it was last read
    return linecache.getline(file, line).strip()


def place_name(place):
    """ "In [3], line 4" for a cell, "ring.py, line 12" for a file."""
    file, line = place
    numbers = getattr(getattr(running_shell(), "compile", None), "_filename_map", {})
    if file in numbers:
        file = f"In [{numbers[file]}]"
    elif not file.startswith("In ["):
        file = os.path.basename(file)
    return f"{file}, line {line}"


def trace_of(world_size, records, *rest):
    """The Trace of {rank: (rows, values, what was metered or None)}.

    The rows' lines are still (file, line) pairs.
    """
    all_rows = []
    all_values = {}
    readings = {}
    for rank, (rows, values, reading) in records.items():
        all_rows += rows
        all_values |= {(rank, seq): numbers for seq, numbers in values.items()}
        if reading:
            readings[rank] = reading
    trace = Trace(world_size, all_rows, *rest)
    trace.values = all_values
    trace.metered(readings)
    places = trace.columns["line"]
    names = {place: place_name(place) for place in set(places)}
    trace.columns["line"] = [names[place] for place in places]
    return trace
