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
from minidl.viz.drawing.scene import Dot, Path, Scene, log_axis
from minidl.viz.drawing.units import (
    bytes_text,
    count_text,
    counts_text,
    number_text,
    seconds_text,
)
from minidl.viz.reading.matching import is_lost, travel_seconds

ROUNDS = 8  # how often the weights are computed anew
DRAWN = 240  # single messages drawn behind the medians


class Fit(Picture):
    """The cost of a message, and the picture of it.

    alpha  alpha_error    seconds that any message takes, and the standard error
    beta   beta_error     seconds for each byte more, and the standard error

    The errors are nan if there are only two sizes with one message each.
    """

    def __init__(self, points, times):
        """points: a fitted Point for each size; times: {nbytes: seconds of each message}."""
        self.alpha, self.beta = _line(points)
        self.alpha_error, self.beta_error = _errors(points, self, times)
        rows = []
        for point in points:
            nbytes = point.nbytes
            rows.append((nbytes, len(times[nbytes]), point.seconds, self.seconds(nbytes)))
        count = sum(map(len, times.values()))
        scene = _scene(self, points, times)
        table = Table(("nbytes", "messages", "median_seconds", "fitted_seconds"), rows)
        super().__init__("fit", counts_text(size=len(points), message=count), scene, table)

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
    # Through the times of a single size, a line of any slope fits.
    if len(times) < 2:
        raise ValueError(
            "alpha and beta cannot be told apart from messages of "
            f"{count_text(len(times), 'size')}: send messages of at least two sizes"
        )
    # Weights are relative to the fitted times; relative to the medians, low ones would count more.
    # So the line and its weights are computed in turn, starting from the medians.
    medians = {nbytes: median(times[nbytes]) for nbytes in sorted(times)}
    expected = medians
    for _ in range(ROUNDS):
        points = []
        for nbytes, seconds in medians.items():
            scale = max(expected[nbytes], 1e-9)
            points.append(Point(nbytes, seconds, weight=1 / scale**2))
        alpha, beta = _line(points)
        expected = {nbytes: alpha + beta * nbytes for nbytes in medians}
    return Fit(points, times)


def _message_times(trace):
    """{nbytes: seconds of each received message of this size}."""
    times = defaultdict(list)
    for message in trace.messages():
        if not is_lost(message):
            times[message.send.nbytes].append(travel_seconds(message))
    return times


def _moment(points, power):
    """The sum of w n**power over the points, which have weight w and n bytes."""
    return sum(p.weight * p.nbytes**power for p in points)


def _influences(points):
    """How much alpha and beta change with the time of each point: two numbers a point.

    Weighted least squares solve    | w   wn  | |alpha|   | wy  |
                                    | wn  wnn | |beta | = | wny |
    """
    w, wn, wnn = [_moment(points, power) for power in range(3)]
    determinant = w * wnn - wn * wn
    influences = []
    for n, _, weight in points:
        share = weight / determinant
        on_alpha = share * (wnn - wn * n)
        on_beta = share * (w * n - wn)
        influences.append((on_alpha, on_beta))
    return influences


def _line(points):
    """(alpha, beta): weighted least squares of alpha + beta * n with neither below zero."""
    alpha = 0.0
    beta = 0.0
    for point, (on_alpha, on_beta) in zip(points, _influences(points)):
        alpha += on_alpha * point.seconds
        beta += on_beta * point.seconds
    # Times that scatter a lot can give a negative alpha or beta, which makes no sense.
    if alpha < 0:  # the best line through the origin
        wny = sum(p.weight * p.nbytes * p.seconds for p in points)
        return 0.0, wny / _moment(points, 2)
    if beta < 0:  # the best level line
        wy = sum(p.weight * p.seconds for p in points)
        return wy / _moment(points, 0), 0.0
    return alpha, beta


def _errors(points, fitted, times):
    """Standard errors of alpha and beta.

    A size is as uncertain as its times scatter, or as its median lies off the line if that is more.
    """
    if len(points) == 2 and all(len(seconds) == 1 for seconds in times.values()):
        return math.nan, math.nan
    alpha_variance = 0.0
    beta_variance = 0.0
    for point, (on_alpha, on_beta) in zip(points, _influences(points)):
        n, seconds, _ = point
        variance = _median_variance(times[n], seconds)
        if len(points) > 2:  # a line always goes through two points
            freedom = (len(points) - 2) / len(points)
            variance = max(variance, (seconds - fitted.seconds(n)) ** 2 / freedom)
        alpha_variance += variance * on_alpha**2
        beta_variance += variance * on_beta**2
    return math.sqrt(alpha_variance), math.sqrt(beta_variance)


def _median_variance(values, middle):
    """The squared standard error of a median, from the median distance to it.

    That distance ignores outliers; in a normal distribution the standard deviation is 1.4826 of it,
    and the median's error is 1.2533 times that of the mean.
    """
    # both factors hold for a normal distribution
    spread = 1.4826 * median(abs(value - middle) for value in values)
    return (1.2533 * spread) ** 2 / len(values)


def _scene(fitted, points, times):
    """The measured times and the fitted line.

    Both axes are logarithmic, so messages of 0 bytes or 0 seconds are not drawn.
    """
    drawable = [point for point in points if point.nbytes > 0 and point.seconds > 0]
    # single messages, thinned out evenly if there are many
    singles = []
    for point in points:
        if point.nbytes > 0:
            singles += [(point.nbytes, seconds) for seconds in times[point.nbytes] if seconds > 0]
    kept = singles[:: math.ceil(len(singles) / DRAWN) or 1]

    # the line, at equal distances on the logarithmic axis
    sizes = [point.nbytes for point in drawable] or [1, max(times)]
    x_axis = log_axis("size of a message", sizes, room=1.6, base=4, text=bytes_text)
    ratio = x_axis.high / x_axis.low
    curve = tuple(x_axis.low * ratio ** (i / 40) for i in range(41))
    fitted_curve = tuple(map(fitted.seconds, curve))
    # both the points and the line have to fit between bottom and top
    heights = [point.seconds for point in drawable]
    heights += [seconds for _, seconds in kept]
    heights += [seconds for seconds in fitted_curve if seconds > 0]
    scene = Scene(
        _finding(fitted),
        _caption(times, len(singles) > len(kept)),
        rows=300,
        x=x_axis,
        y=log_axis("time of a message", heights, room=1.5, base=10, text=seconds_text),
    )
    grey = faded(INK, 0.45)
    scene.add("a message", [Dot(n, seconds, grey, 4) for n, seconds in kept], legend=True)
    scene.add("alpha + beta n", [Path(curve, fitted_curve, RANKS[1], 2)], legend=True)
    dots = []
    for nbytes, seconds, _ in drawable:
        hover = f"{bytes_text(nbytes)}: {seconds_text(seconds)}"
        dots.append(Dot(nbytes, seconds, RANKS[0], 9, hover))
    return scene.add("median of a size", dots, legend=True)


def _finding(fitted):
    """The two numbers, as a title."""
    start = f"A message takes {seconds_text(fitted.alpha)}"
    if fitted.beta == 0:
        return f"{start}, whatever its size"
    speed = bytes_text(1 / fitted.beta)
    return f"{start} plus {_nanoseconds(fitted.beta)} ns per byte ({speed}/s)"


def _caption(times, thinned):
    """What was fitted to what."""
    messages = count_text(sum(map(len, times.values())), "message")
    text = (
        f"{messages} of {count_text(len(times), 'size')}, timed from when both sides "
        "have posted to the end of the receive; the line is fitted to the median of each size."
    )
    if thinned:
        text += f" About {DRAWN} of the messages are drawn."
    if 0 in times:
        text += " Messages of 0 B are fitted and not drawn."
    return text


def _nanoseconds(seconds):
    """Seconds as a number of nanoseconds."""
    return number_text(seconds * 1e9)
