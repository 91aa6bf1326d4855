"""Pictures of a run. Each is a function of a Trace and reads its events, nothing else.

    Trace --lamport, timeline, traffic, wait_for, fit--> Scene --plotly_json, svg--> Picture

A drawing function puts neutral shapes (boxes, arrows, labels) into a Scene. Two small writers turn
the same Scene into plotly JSON and into SVG, so the two always show the same thing.
Left out: how a run is made. Nothing here imports the runtime.
"""

from minidl.viz.picture import Picture, Table

__all__ = ["Picture", "Table"]
