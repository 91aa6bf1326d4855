"""How should a number be written so that it can be read: 0.00021 s, or 210 us?

    2.1e-4 s -> "210 us"      49152 B -> "48 KiB"      0.6123 -> "61 %"

Also finds round numbers for an axis. Left out: any unit but seconds, bytes and counts.
"""

import math
from bisect import bisect_right

SECONDS = ((1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1.0, "s"))
BYTES = ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB"))


def scaled(value, scales):
    """The number and the unit: the largest unit that keeps the number at 1 or more."""
    at = max(0, bisect_right([scale for scale, _ in scales], abs(value) * (1 + 1e-9)) - 1)
    return value / scales[at][0], scales[at][1]


def plain(value):
    """Three digits that mean something and no needless zeros: 0.333, 2.5, 48, 1,234."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def seconds_text(seconds):
    """A duration in words, as in "210 us"."""
    value, unit = scaled(seconds, SECONDS)
    return f"{plain(value)} {unit}" if seconds else "0 s"


def bytes_text(nbytes):
    """A size in words, as in "48 KiB"."""
    value, unit = scaled(nbytes, BYTES)
    return f"{plain(value)} {unit}"


def count_text(n, noun):
    """A count with its noun, as in "1 message" or "12,000 messages"."""
    plural = noun if n == 1 else noun + ("es" if noun.endswith(("s", "h")) else "s")
    return f"{n:,} {plural}"


def percent(part, whole):
    """A share in words, as in "61 %"."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def axis_seconds(width):
    """The unit (seconds, name) for a time axis of this width: the largest of which it holds two."""
    for scale, name in SECONDS[:0:-1]:
        if width >= 2 * scale:
            return scale, name
    return SECONDS[1]


def round_ticks(low, high, most=8):
    """Round numbers between low and high, at most `most` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, digits) for i in range(first, last + 1)]


def power_ticks(low, high, base, text, most=9):
    """Powers of `base` between low and high with their texts, for a logarithmic axis.

    Where fewer than three powers of ten fit, 2 and 5 times a power stand between them.
    """
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    stride = max(1, math.ceil((last - first + 1) / most))
    steps = (1, 2, 5) if base == 10 and last - first < 4 else (1,)
    values = [step * float(base) ** i for i in range(first, last + 1, stride) for step in steps]
    return [(value, text(value)) for value in values if low * 0.999 <= value <= high * 1.001]
