"""Cell functions keep their source: the lines travel to the ranks, and (file, line) becomes "In [3], line 4".

kernel   linecache[/tmp/ipykernel_7/31.py] --with the call--> rank   linecache, for tracebacks and inspect
"""

import linecache
import os
import sys

from minidl.trace import Trace


def _shell():
    """IPython's running shell, or None. Never imports IPython."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def cell_sources(known):
    """The lines of all cells that are not in the set `known` yet: {file: lines}; adds them to `known`."""
    fresh = {}
    for name, entry in list(linecache.cache.items()):
        if len(entry) == 4 and (entry[1] is None or "ipykernel" in name) and name not in known:
            fresh[name] = entry[2]
            known.add(name)
    return fresh


def learn_sources(sources):
    """Make lines that came from the kernel known here, so that tracebacks show them."""
    for name, lines in sources.items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


def place_name(place):
    """ "In [3], line 4" for a cell, "ring.py, line 12" for a file."""
    file, line = place
    if file.startswith("In ["):
        return f"{file}, line {line}"
    shell = _shell()
    numbers = getattr(getattr(shell, "compile", None), "_filename_map", {})
    if file in numbers:
        return f"In [{numbers[file]}], line {line}"
    return f"{os.path.basename(file)}, line {line}"


def trace_of(world_size, records, *rest):
    """The Trace of {rank: (rows, values, what was metered or None)}; the rows' lines are still (file, line) pairs."""
    trace = Trace(world_size, [row for rows, _, _ in records.values() for row in rows], *rest)
    trace.values = {
        (rank, seq): numbers
        for rank, (_, values, _) in records.items()
        for seq, numbers in values.items()
    }
    trace.metered({rank: reading for rank, (_, _, reading) in records.items() if reading})
    labels = {}
    trace.columns["line"] = [
        labels[place] if place in labels else labels.setdefault(place, place_name(place))
        for place in trace.columns["line"]
    ]
    return trace


def source_line(place):
    """The text of the line, stripped; empty when it cannot be found."""
    return linecache.getline(*place).strip()


def in_notebook():
    """Does this process run cells?"""
    return _shell() is not None
