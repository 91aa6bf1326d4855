"""What does a message cost on this machine: alpha seconds to start, beta seconds for each byte?

    seconds |                 .*'         time = alpha + beta * n
            |             .*'             small messages cost alpha, whatever their size;
      alpha |*...*...*'                   large ones cost beta * n
            +------------------- n bytes, both axes logarithmic

A message's time runs from when both sides have posted it to the end of the receive. Hockney 1994,
"The communication challenge for MPP". Left out: messages that disturb each other, and change with
time.
"""

import math
from collections import defaultdict
from statistics import median
from typing import NamedTuple

from minidl.viz.drawing.palette import INK, RANKS, faded
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Path, Scene
from minidl.viz.drawing.units import (
    bytes_text,
    count_text,
    number_text,
    power_ticks,
    seconds_text,
)
from minidl.viz.reading.findings import is_lost

ROUNDS = 8  # how often the weights are computed anew
DRAWN = 240  # single messages drawn behind the medians


class Fit(Picture):
    """The cost of a message, and the picture of it.

    alpha  alpha_error    seconds that any message takes, and the standard error
    beta   beta_error     seconds for each byte more, and the standard error

    The errors are nan if there are only two sizes with one message each.
    """

    def __init__(self, alpha, beta, alpha_error, beta_error, times):
        self.alpha = alpha
        self.beta = beta
        self.alpha_error = alpha_error
        self.beta_error = beta_error
        rows = []
        for nbytes in sorted(times):
            seconds = times[nbytes]
            rows.append((nbytes, len(seconds), median(seconds), self.seconds(nbytes)))
        super().__init__(
            "fit",
            f"{count_text(len(times), 'size')}, {_messages_text(times)}",
            _scene(self, times),
            Table(("nbytes", "messages", "median_seconds", "fitted_seconds"), rows),
        )

    def seconds(self, nbytes):
        """How long a message of this size takes, by the fit."""
        return self.alpha + self.beta * nbytes

    def __str__(self):
        return (
            f"alpha = {seconds_text(self.alpha)} +- {seconds_text(self.alpha_error)}, "
            f"beta = {_nanoseconds(self.beta)} +- {_nanoseconds(self.beta_error)} ns per byte"
        )


class Point(NamedTuple):
    """What the line is fitted to: one size, the median of its times, and how much it counts."""

    nbytes: int
    seconds: float
    weight: float


def fit(trace):
    """alpha and beta of the received messages, fitted to the median time of each size.

    Each size counts the same: errors are taken relative to the fitted time, so that large messages
    do not drown alpha. Raises ValueError if there are fewer than two sizes.
    """
    times = _message_times(trace)
    if len(times) < 2:
        raise ValueError(
            "alpha and beta cannot be told apart from messages of "
            f"{count_text(len(times), 'size')}: send messages of at least two sizes"
        )
    medians = {nbytes: median(times[nbytes]) for nbytes in sorted(times)}
    # Weights are relative to the fitted times; relative to the medians, low ones would count more.
    # So the line and its weights are computed in turn, starting from the medians.
    expected = list(medians.values())
    for _ in range(ROUNDS):
        points = []
        for (nbytes, seconds), fitted in zip(medians.items(), expected):
            points.append(Point(nbytes, seconds, weight=1 / max(fitted, 1e-9) ** 2))
        alpha, beta = _line(points)
        expected = [alpha + beta * nbytes for nbytes in medians]
    alpha_error, beta_error = _errors(points, alpha, beta, times)
    return Fit(alpha, beta, alpha_error, beta_error, times)


def _message_times(trace):
    """{nbytes: seconds of each received message of this size}."""
    times = defaultdict(list)
    for message in trace.messages():
        if not is_lost(message):
            send, recv = message
            times[send.nbytes].append(recv.done - max(send.posted, recv.posted))
    return times


def _weight_sums(points):
    """The sums of w, w n and w n n, over points with weight w and n bytes."""
    return [sum(p.weight * p.nbytes**power for p in points) for power in range(3)]


def _line(points):
    """(alpha, beta): weighted least squares of alpha + beta * n with neither below zero."""
    w, wn, wnn = _weight_sums(points)
    wy = sum(p.weight * p.seconds for p in points)
    wny = sum(p.weight * p.nbytes * p.seconds for p in points)
    # the normal equations:  | w   wn  | |alpha|   | wy  |
    #                        | wn  wnn | |beta | = | wny |
    determinant = w * wnn - wn * wn
    alpha = (wnn * wy - wn * wny) / determinant
    beta = (w * wny - wn * wy) / determinant
    if alpha < 0:
        return 0.0, max(0.0, wny / wnn)
    if beta < 0:
        return max(0.0, wy / w), 0.0
    return alpha, beta


def _errors(points, alpha, beta, times):
    """Standard errors of alpha and beta.

    A size is as uncertain as its times scatter, or as its median lies off the line if that is more.
    """
    if len(points) == 2 and all(len(seconds) == 1 for seconds in times.values()):
        return math.nan, math.nan
    w, wn, wnn = _weight_sums(points)
    determinant = w * wnn - wn * wn
    alpha_variance = 0.0
    beta_variance = 0.0
    for n, seconds, weight in points:
        variance = _median_variance(times[n], seconds)
        if len(points) > 2:  # a line always goes through two points
            freedom = (len(points) - 2) / len(points)
            variance = max(variance, (seconds - alpha - beta * n) ** 2 / freedom)
        alpha_variance += variance * (weight * (wnn - wn * n) / determinant) ** 2
        beta_variance += variance * (weight * (w * n - wn) / determinant) ** 2
    return math.sqrt(alpha_variance), math.sqrt(beta_variance)


def _median_variance(values, middle):
    """The squared standard error of a median, from the median distance to it.

    That distance ignores outliers; in a normal distribution the standard deviation is 1.4826 of it,
    and the median's error is 1.2533 times that of the mean.
    """
    spread = 1.4826 * median(abs(value - middle) for value in values)
    return (1.2533 * spread) ** 2 / len(values)


def _scene(fitted, times):
    """The measured times and the fitted line.

    Both axes are logarithmic, so messages of 0 bytes or 0 seconds are not drawn.
    """
    singles = []
    medians = []
    for nbytes in sorted(times):
        singles += [(nbytes, seconds) for seconds in times[nbytes] if nbytes > 0 and seconds > 0]
        middle = median(times[nbytes])
        if nbytes > 0 and middle > 0:
            medians.append((nbytes, middle))
    kept = singles[:: math.ceil(len(singles) / DRAWN) or 1]

    low = 1
    high = max(times)
    if medians:
        low = medians[0][0] / 1.6
        high = medians[-1][0] * 1.6
    curve = tuple(low * (high / low) ** (i / 40) for i in range(41))
    fitted_curve = tuple(map(fitted.seconds, curve))
    heights = [seconds for _, seconds in medians + kept]
    heights += [seconds for seconds in fitted_curve if seconds > 0]
    bottom = min(heights, default=1e-6) / 1.5
    top = max(heights, default=1e-6) * 1.5

    x_ticks = power_ticks(low, high, 4, bytes_text)
    y_ticks = power_ticks(bottom, top, 10, seconds_text)
    scene = Scene(
        _finding(fitted),
        _caption(times, len(singles) > len(kept)),
        rows=300,
        x=Axis("size of a message", low, high, x_ticks, log=True),
        y=Axis("time of a message", bottom, top, y_ticks, log=True),
    )
    grey = faded(INK, 0.45)
    scene.add("a message", [Dot(n, seconds, grey, 4) for n, seconds in kept], legend=True)
    scene.add("alpha + beta n", [Path(curve, fitted_curve, RANKS[1], 2)], legend=True)
    dots = []
    for nbytes, seconds in medians:
        hover = f"{bytes_text(nbytes)}: {seconds_text(seconds)}"
        dots.append(Dot(nbytes, seconds, RANKS[0], 9, hover))
    return scene.add("median of a size", dots, legend=True)


def _finding(fitted):
    """The two numbers, as a title."""
    if fitted.beta == 0:
        return f"A message takes {seconds_text(fitted.alpha)}, whatever its size"
    bytes_per_second = bytes_text(1 / fitted.beta)
    return (
        f"A message takes {seconds_text(fitted.alpha)} "
        f"plus {_nanoseconds(fitted.beta)} ns per byte ({bytes_per_second}/s)"
    )


def _caption(times, thinned):
    """What was fitted to what."""
    text = (
        f"{_messages_text(times)} of {count_text(len(times), 'size')}, timed from when both sides "
        "have posted to the end of the receive; the line is fitted to the median of each size."
    )
    if thinned:
        text += f" About {DRAWN} of the messages are drawn."
    if 0 in times:
        text += " Messages of 0 B are fitted and not drawn."
    return text


def _messages_text(times):
    """How many messages were timed, in words."""
    return count_text(sum(map(len, times.values())), "message")


def _nanoseconds(seconds):
    """Seconds as a number of nanoseconds."""
    return number_text(seconds * 1e9)
