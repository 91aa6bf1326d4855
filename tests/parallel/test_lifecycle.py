"""The life of a unit, transition by transition, on units that only say what is done to them."""

from minidl.parallel.lifecycle import Lifecycle, State


class Unit:
    """Notes what is done to it."""

    trained = ("a vector",)

    def __init__(self):
        self.done = []

    def gather(self, all_gather, comm):
        self.done.append("gather")

    def hold(self, wholes):
        """Nothing that these tests ask for."""

    def free(self):
        self.done.append("free")


class Work:
    """A gather that happens when it is waited for."""

    def __init__(self, fn, *args):
        self.wait = lambda: fn(*args, None)


class Comm:
    """Starts nothing by itself."""

    background = staticmethod(Work)


def two_units(prefetch=True):
    first, second = Unit(), Unit()
    life = Lifecycle([first, second], Comm(), None, prefetch)
    return life, first, second


def use(life, *units):
    """A step: the units' forward passes in order, their backward passes in the opposite order."""
    for unit in units:
        life.forward_begins(unit)
        life.forward_ends(unit)
    for unit in reversed(units):
        life.backward_begins(unit)
        life.backward_ends(unit)
    life.step_ends()


def test_a_unit_goes_around_once_for_each_pass():
    life, unit, _ = two_units()
    seen = [life.state[unit]]
    for event in (
        life.forward_begins,
        life.forward_ends,
        life.backward_begins,
        life.backward_ends,
    ):
        event(unit)
        seen.append(life.state[unit])
    assert seen == [State.SHARDED, State.WHOLE, State.SHARDED, State.BACKWARD, State.SHARDED]
    assert unit.done == ["free", "gather", "free", "gather", "free"]


def test_what_was_used_next_in_the_last_step_is_gathered_ahead():
    for prefetch, expected in ((True, State.GATHERING), (False, State.SHARDED)):
        life, first, second = two_units(prefetch)
        life.forward_begins(first)
        assert life.state[second] is State.SHARDED  # in the first step the order is unknown
        life.forward_ends(first)
        life.step_ends()
        use(life, first, second)
        life.forward_begins(first)
        assert life.state[second] is expected


def test_a_recomputed_unit_stays_until_its_backward_pass_is_over():
    life, unit, _ = two_units()
    life.forward_begins(unit)
    life.forward_ends(unit)
    life.backward_begins(unit)
    life.forward_begins(unit)
    life.forward_ends(unit)
    assert life.state[unit] is State.BACKWARD and unit.done[-1] == "gather"
    life.backward_ends(unit)
    assert life.state[unit] is State.SHARDED


def test_a_unit_that_is_being_gathered_for_its_next_use_is_not_freed():
    life, unit, _ = two_units()
    life.gather(unit)
    life.backward_ends(unit)
    assert life.state[unit] is State.GATHERING
    life.forward_begins(unit)
    assert life.state[unit] is State.WHOLE and unit.done == ["free", "gather"]


def test_a_unit_stays_until_autograd_has_used_all_that_it_saved_of_it():
    life, unit, _ = two_units()
    life.forward_begins(unit)
    life.is_saved(unit)
    life.is_saved(unit)
    life.forward_ends(unit)
    for _ in range(2):
        life.is_asked_for(unit)
        assert life.state[unit] is State.BACKWARD
        life.backward_ends(unit)
    assert life.state[unit] is State.SHARDED
    assert unit.done == ["free", "gather", "free", "gather", "free"]


def test_a_unit_without_trained_parameters_is_freed_when_all_that_was_saved_is_used():
    life, unit, _ = two_units()
    unit.trained = ()
    life.forward_begins(unit)
    life.is_saved(unit)
    life.forward_ends(unit)
    life.is_asked_for(unit)
    life.free_if_done(unit)
    assert life.state[unit] is State.SHARDED


def test_a_unit_used_outside_of_its_own_pass_stays_until_the_models_pass_is_over():
    life, first, second = two_units()
    with life.forward_pass():
        life.is_used(first)
        life.forward_begins(second)
        life.forward_ends(second)
        assert life.state[first] is State.WHOLE and life.state[second] is State.SHARDED
    assert life.held() == []


def test_a_new_step_begins_with_sharded_units_whatever_an_error_left():
    life, first, second = two_units()
    life.forward_begins(first)
    life.is_saved(first)
    life.gather(second)
    life.reset()
    assert set(life.state.values()) == {State.SHARDED} and not life.gathering
    assert not any(life.saved.values())


def test_after_a_step_no_unit_is_held_not_even_one_gathered_for_nothing():
    life, first, second = two_units()
    life.forward_begins(first)
    life.gather(second)
    life.step_ends()
    assert set(life.state.values()) == {State.SHARDED}
    assert first.done[-1] == second.done[-1] == "free" and not life.gathering
