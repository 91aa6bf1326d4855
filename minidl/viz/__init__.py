"""Pictures of a run. Each is a function of a Trace and reads its events, nothing else.

    Trace --pictures/--> Scene --drawing/--> Picture

A function in `pictures/` puts neutral shapes (boxes, arrows, labels) into a Scene. Two small
writers in `drawing/` turn the same Scene into plotly JSON and into SVG, so the two always show the
same thing. `reading/` turns events into facts, such as when a rank waited.
Left out: how a run is made. Nothing here imports the runtime.
"""

from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.pictures.curves import curves
from minidl.viz.pictures.guesses import Guesses

__all__ = ["Guesses", "Picture", "Table", "curves"]
