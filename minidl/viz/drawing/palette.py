"""Which colours read on a white page and on a black one, also for colour-blind eyes?

    rank    0     1       2      3       4    5      6      7        8 ...
            blue  orange  green  violet  sky  amber  lilac  mauve    all grey: labels alone

Near Okabe & Ito 2008, moved until each pair differs under simulated protanopia, deuteranopia and
tritanopia (Machado 2009), and each colour stands out from white and from JupyterLab's dark grey.
Backgrounds stay transparent, and text is one grey with the same contrast on both.
"""

RANKS = ("#0E6DB8", "#DC6F00", "#0B9268", "#9A3CF5", "#61A2FF", "#DDA00C", "#B394C3", "#85596E")
INK = "#7A7A7A"  # text: contrast 4.3 on white and on #111
FAINT = "#9A9A9A"  # the line of a rank, the border of a plot
CROWD = "#3B82D6"  # all messages, if there are more ranks than colours
ALARM = "#DC3A2A"  # a message that was never received; always with a cross
CLEAR = "rgba(0,0,0,0)"
PALEST = "#D9E8FA"  # the shade of an opaque cell that holds nothing
DEEPEST = "#1F6FC0"  # the shade of the one that holds most


def rank_color(rank, world_size):
    """The colour of a rank: its own for up to eight ranks, one grey for all beyond."""
    return RANKS[rank] if world_size <= len(RANKS) else INK


def arrow_color(rank, world_size):
    """The colour of a rank's messages: the rank's own, or one blue if there are more than eight."""
    return RANKS[rank] if world_size <= len(RANKS) else CROWD


def rank_label(rank, world_size):
    """The name of a rank on an axis: "rank 3", or "3" where many ranks need the room."""
    return f"rank {rank}" if world_size <= 16 else str(rank)


def faded(color, strength):
    """The same colour, partly transparent, as plotly and SVG both read it."""
    red, green, blue = _channels(color)
    return f"rgba({red},{green},{blue},{strength:.2g})"


def shade(share, opaque):
    """The colour of a cell that holds this share of the largest.

    Opaque shades carry numbers; the others fade into the page.
    """
    if not opaque:
        return faded(CROWD, 0.15 + 0.85 * share)
    color = "#"
    for low, high in zip(_channels(PALEST), _channels(DEEPEST)):
        color += f"{round(low + (high - low) * share):02X}"
    return color


def on_shade(share):
    """The colour of a number on an opaque shade."""
    return "#FFFFFF" if share > 0.6 else "#1A2A3A"


def _channels(color):
    """Red, green and blue of "#RRGGBB", each from 0 to 255."""
    return bytes.fromhex(color.removeprefix("#"))
