"""A run beside that of a right answer: what differs is said, and the message to blame is marked."""

import torch

from minidl import Uniform, VirtualWorld
from minidl.collectives import naive, ring
from minidl.viz.drawing.scene import Arrow, Dot
from minidl.viz.pictures.beside import beside

WORLD = VirtualWorld(3, network=Uniform(1.0, 0.0))


def trace_of(fn):
    return WORLD.run(fn, torch.ones(6)).trace


def layer(picture, name):
    return next(layer for layer in picture.scene.layers if layer.name == name)


def test_it_says_who_sends_more_and_draws_every_message():
    own, right = trace_of(naive.all_reduce), trace_of(ring.all_reduce)
    picture = beside(own, right)
    assert picture.title == "Yours sends 4 messages, a right answer 12 messages"
    assert len(picture.scene.shapes(Arrow)) == 16 == len(picture.table())
    assert repr(picture) == "Picture(beside: 2 runs, 4 messages and 12 messages)"


def test_the_guilty_message_is_thick_and_has_a_cross():
    own = trace_of(naive.all_reduce)
    guilty = own.messages()[2].send
    picture = beside(own, trace_of(ring.all_reduce), guilty)
    [marked] = layer(picture, "to blame").shapes
    assert marked.width == 4 and (marked.x0, marked.y0) == (
        picture.scene.shapes(Dot)[0].x,
        picture.scene.shapes(Dot)[0].y,
    )
    assert len(layer(picture, "message").shapes) == 15 and "cross" in picture.caption


def test_without_a_reference_there_is_one_run():
    picture = beside(trace_of(ring.all_reduce))
    assert picture.title == "This run sends 12 messages" and "Above" not in picture.caption


def test_a_message_that_nobody_received_is_broken():
    def lost(x, comm):
        if comm.rank == 0:
            comm.send(x, to=1)

    try:
        trace_of(lost)
    except Exception as error:
        picture = beside(error.trace, trace_of(ring.all_reduce))
    assert layer(picture, "never received").shapes[0].broken
    assert "<svg" in picture.svg() and picture.plotly()["data"]
