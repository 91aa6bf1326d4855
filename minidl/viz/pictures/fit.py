"""What does a message cost on this machine: alpha seconds to start, beta seconds for each byte?

    seconds |                 .*'         time = alpha + beta * n
            |             .*'             small messages cost alpha, whatever their size;
      alpha |*...*...*'                   large ones cost beta * n
            +------------------- n bytes, both axes logarithmic

A message's time runs from when both sides have posted it to the end of the receive. Hockney 1994, "The
communication challenge for MPP". Left out: messages that disturb each other, and change with time.
"""

import math
from collections import defaultdict
from statistics import median

from minidl.viz.drawing.palette import INK, RANKS, faded
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Path, Scene
from minidl.viz.drawing.units import (
    BYTES,
    bytes_text,
    count_text,
    plain,
    power_ticks,
    scaled,
    seconds_text,
)
from minidl.viz.reading.findings import is_lost

ROUNDS = 8  # of weighing anew
DRAWN = 240  # single messages drawn behind the medians


class Fit(Picture):
    """The cost of a message, and the picture of it.

    alpha  alpha_error    seconds that any message takes, and the standard error
    beta   beta_error     seconds for each byte more, and the standard error; nan where one message a size tells none
    """

    def __init__(self, alpha, beta, alpha_error, beta_error, times):
        self.alpha, self.beta, self.alpha_error, self.beta_error = (
            alpha,
            beta,
            alpha_error,
            beta_error,
        )
        count = sum(map(len, times.values()))
        rows = [
            (nbytes, len(times[nbytes]), median(times[nbytes]), self.seconds(nbytes))
            for nbytes in sorted(times)
        ]
        super().__init__(
            "fit",
            f"{count_text(len(times), 'size')}, {count_text(count, 'message')}",
            fit_scene(self, times),
            Table(("nbytes", "messages", "median_seconds", "fitted_seconds"), rows),
        )

    def seconds(self, nbytes):
        """How long a message of this size takes, by the fit."""
        return self.alpha + self.beta * nbytes

    def __str__(self):
        return (
            f"alpha = {seconds_text(self.alpha)} +- {seconds_text(self.alpha_error)}, "
            f"beta = {plain(self.beta * 1e9)} +- {plain(self.beta_error * 1e9)} ns per byte"
        )


def fit(trace):
    """alpha and beta of the received messages, fitted to the median time of each size.

    Each size counts alike: errors are taken relative to the fitted time, so that large messages do
    not drown alpha. Raises ValueError if there are fewer than two sizes.
    """
    times = message_times(trace)
    if len(times) < 2:
        raise ValueError(
            f"alpha and beta cannot be told apart from messages of {count_text(len(times), 'size')}: "
            "send messages of at least two sizes"
        )
    sizes = sorted(times)
    middles = [median(times[size]) for size in sizes]
    expected = middles
    for _ in range(
        ROUNDS
    ):  # relative to the fitted times: relative to the medians, low ones would count more
        weights = [1 / max(y, 1e-9) ** 2 for y in expected]
        alpha, beta = line(sizes, middles, weights)
        expected = [alpha + beta * n for n in sizes]
    return Fit(alpha, beta, *errors(sizes, middles, weights, alpha, beta, times), times)


def message_times(trace):
    """{nbytes: seconds of each received message of this size}."""
    times = defaultdict(list)
    for message in trace.messages():
        if not is_lost(message):
            send, recv = message
            times[send.nbytes].append(recv.done - max(send.posted, recv.posted))
    return dict(times)


def moments(sizes, weights):
    """The sums of w, w n and w n n."""
    return tuple(sum(w * n**power for n, w in zip(sizes, weights)) for power in (0, 1, 2))


def line(sizes, middles, weights):
    """Weighted least squares of alpha + beta * n with neither below zero."""
    s0, s1, s2 = moments(sizes, weights)
    t0, t1 = (sum(w * n**power * y for n, y, w in zip(sizes, middles, weights)) for power in (0, 1))
    det = s0 * s2 - s1 * s1
    alpha, beta = (s2 * t0 - s1 * t1) / det, (s0 * t1 - s1 * t0) / det
    if alpha < 0:
        return 0.0, max(0.0, t1 / s2)
    return (max(0.0, t0 / s0), 0.0) if beta < 0 else (alpha, beta)


def errors(sizes, middles, weights, alpha, beta, times):
    """Standard errors of alpha and beta: the scatter within a size, and the distance of the medians from the line."""
    s0, s1, s2 = moments(sizes, weights)
    det, spare = s0 * s2 - s1 * s1, len(sizes) / max(1, len(sizes) - 2)
    alpha_var = beta_var = 0.0
    for n, y, w in zip(sizes, middles, weights):
        off = spare * (y - alpha - beta * n) ** 2 if len(sizes) > 2 else 0.0
        variance = max(median_variance(times[n], y), off)
        alpha_var += variance * (w * (s2 - s1 * n) / det) ** 2
        beta_var += variance * (w * (s0 * n - s1) / det) ** 2
    if len(sizes) == 2 and all(len(times[n]) == 1 for n in sizes):
        return math.nan, math.nan
    return math.sqrt(alpha_var), math.sqrt(beta_var)


def median_variance(values, middle):
    """The squared standard error of a median, from the median distance to it (robust against outliers)."""
    spread = 1.4826 * median(abs(value - middle) for value in values)
    return (1.2533 * spread) ** 2 / len(values)


def fit_scene(fitted, times):
    """The measured times and the fitted line, both axes logarithmic; messages of 0 bytes cannot stand on them."""
    single = [(n, y) for n in sorted(times) for y in times[n] if n > 0 and y > 0]
    kept = single[:: math.ceil(len(single) / DRAWN)] if single else []
    middles = [(n, median(times[n])) for n in sorted(times) if n > 0 and median(times[n]) > 0]
    low, high = (middles[0][0] / 1.6, middles[-1][0] * 1.6) if middles else (1, max(times))
    curve = [low * (high / low) ** (i / 40) for i in range(41)]
    heights = [y for _, y in middles + kept] + [
        y for n in curve if (y := fitted.seconds(n)) > 0
    ] or [1e-6]
    scene = Scene(
        finding(fitted),
        caption(times, len(single) > len(kept)),
        rows=300,
        x=Axis("size of a message", low, high, power_ticks(low, high, 4, bytes_text), log=True),
        y=Axis("time of a message", min(heights) / 1.5, max(heights) * 1.5, log=True),
    )
    scene.y.ticks = power_ticks(scene.y.low, scene.y.high, 10, seconds_text)
    scene.add("a message", [Dot(n, y, faded(INK, 0.45), 4) for n, y in kept], legend=True)
    scene.add(
        "alpha + beta n",
        [Path(tuple(curve), tuple(map(fitted.seconds, curve)), RANKS[1], 2)],
        legend=True,
    )
    scene.add(
        "median of a size",
        [Dot(n, y, RANKS[0], 9, f"{bytes_text(n)}: {seconds_text(y)}") for n, y in middles],
        legend=True,
    )
    return scene


def finding(fitted):
    """The two numbers, as a title."""
    if fitted.beta == 0:
        return f"A message takes {seconds_text(fitted.alpha)}, whatever its size"
    speed, unit = scaled(1 / fitted.beta, BYTES)
    return f"A message takes {seconds_text(fitted.alpha)} plus {plain(fitted.beta * 1e9)} ns per byte ({plain(speed)} {unit}/s)"


def caption(times, thinned):
    """What was fitted to what."""
    words = [
        f"{count_text(sum(map(len, times.values())), 'message')} of {count_text(len(times), 'size')}, "
        "timed from when both sides have posted to the end of the receive; the line is fitted to the median of each size."
    ]
    if thinned:
        words.append(f"About {DRAWN} of the messages are drawn.")
    if 0 in times:
        words.append("Messages of 0 B are fitted and not drawn.")
    return " ".join(words)
