"""How should a number be written so that it can be read: 0.00021 s, or 210 us?

    2.1e-4 s -> "210 us"      49152 B -> "48 KiB"      0.6123 -> "61 %"

Also finds round numbers for an axis. Left out: any unit but seconds, bytes and counts.
"""

import math
from numbers import Real
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit of measurement: 1 ms is Unit(1e-3, "ms"), because it is 1e-3 seconds."""

    size: float
    name: str


SECONDS = (Unit(1e-9, "ns"), Unit(1e-6, "us"), Unit(1e-3, "ms"), Unit(1.0, "s"))
BYTES = (
    Unit(1, "B"),
    Unit(1 << 10, "KiB"),
    Unit(1 << 20, "MiB"),
    Unit(1 << 30, "GiB"),
    Unit(1 << 40, "TiB"),
)
NANO = 1e-9  # relative: 0.9999999999 ms is written as 1 ms, and a tick at the axis' end is drawn


def number_text(value):
    """Three digits that mean something and no needless zeros: 0.333, 2.5, 48, 1,234."""
    if value == 0:
        return "0"
    if math.isfinite(value) and abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def unit_of(value, units):
    """The largest unit in which the value is 1 or more; the smallest unit if there is none."""
    # A unit is a (size, name) pair, so max() takes the largest size.
    limit = abs(value) * (1 + NANO)
    return max((unit for unit in units if unit.size <= limit), default=units[0])


def axis_unit(width, units):
    """The unit for an axis of this width: the largest of which it holds two, else the smallest."""
    return unit_of(width / 2, units)


def axis_seconds(width):
    """The unit (size, name) of a time axis this many seconds wide; microseconds at least."""
    return axis_unit(width, SECONDS[1:])


def seconds_text(seconds):
    """A duration in words, as in "210 us"."""
    return _with_unit(seconds, SECONDS) if seconds else "0 s"


def bytes_text(nbytes):
    """A size in words, as in "48 KiB"."""
    return _with_unit(nbytes, BYTES)


def _with_unit(value, units):
    unit = unit_of(value, units)
    return f"{number_text(value / unit.size)} {unit.name}"


def is_number(value):
    """Whether it is a number that is written with digits; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def value_text(value):
    """What somebody computed or typed: a number in three digits, anything else as it prints."""
    return number_text(value) if is_number(value) else str(value)


def count_text(n, noun):
    """A count with its noun, as in "1 message" or "12,000 messages"."""
    if n == 1:
        return f"1 {noun}"
    ending = "es" if noun.endswith(("s", "h")) else "s"
    return f"{n:,} {noun}{ending}"


def counts_text(**counts):
    """Counts with their nouns: counts_text(rank=4, message=24) is "4 ranks, 24 messages"."""
    return ", ".join(count_text(n, noun) for noun, n in counts.items())


def percent(part, whole):
    """A share in words, as in "61 %"; 0 % of nothing."""
    share = part / whole if whole else 0
    return f"{100 * share:.0f} %"


def round_ticks(low, high, most=8):
    """Round numbers between low and high, at most `most` of them.

    round_ticks(0, 6.6) is [0, 1, 2, 3, 4, 5, 6]: 8 steps would be 0.825 wide each, and of the
    widths 0.1, 0.2, 0.5 and 1 the first that is not narrower is 1.
    """
    if not high > low:
        return [low]
    # Steps of this width would give just `most` ticks; the next round width is taken.
    narrowest = (high - low) / most
    power = 10 ** math.floor(math.log10(narrowest))
    for factor in (1, 2, 5, 10):
        step = factor * power
        if step >= narrowest * (1 - NANO):
            break
    first = math.ceil(low / step - NANO)
    last = math.floor(high / step + NANO)
    digits = max(0, -math.floor(math.log10(step)))  # 3 * 0.1 is 0.30000000000000004
    return [round(i * step, digits) for i in range(first, last + 1)]


def power_ticks(low, high, base, text, most=9):
    """Powers of `base` between low and high with their texts, for a logarithmic axis.

    Of more than `most` powers only every second, third, ... is taken. Between fewer than five
    powers of ten stand 2 and 5 times a power: 1, 2, 5, 10, 20, 50, 100.
    """
    first = math.floor(math.log(low, base) + NANO)
    last = math.ceil(math.log(high, base) - NANO)
    # Ticks that overlap cannot be read.
    stride = max(1, math.ceil((last - first + 1) / most))
    factors = (1,)
    if base == 10 and last - first < 4:
        factors = (1, 2, 5)
    ticks = []
    for exponent in range(first, last + 1, stride):
        for factor in factors:
            value = factor * float(base) ** exponent
            if low * 0.999 <= value <= high * 1.001:
                ticks.append((value, text(value)))
    return ticks
