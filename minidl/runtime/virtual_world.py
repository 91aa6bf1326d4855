"""VirtualWorld: up to thousands of ranks in one process, on a virtual clock; the same run every
time.

    world = VirtualWorld(1024, network=Islands(8))
    run = world.run(my_all_reduce, torch.arange(1024.))    # as in a World: the same Run and errors

It is the strictest world: a send returns when it has been received, so what passes here cannot
deadlock elsewhere for want of room. VirtualWorld(n, buffered=True) shows what works by buffering.
"""

from minidl.runtime.metering.device import Device
from minidl.runtime.processes import parcel
from minidl.runtime.processes.on_death import ON_DEATH
from minidl.runtime.run import Run, check_options, check_size, count_of
from minidl.runtime.virtual.network import Uniform
from minidl.runtime.virtual.virtual_run import VirtualRun
from minidl.runtime.words.report import explain


class VirtualWorld:
    """`world_size` virtual ranks: threads that take turns. 1,024 ranks of a ring need a minute or
    two.

    network   how far ranks are apart: Uniform(alpha, beta), Islands(size), OneSlowLink(a, b)
    buffered  False: a send returns when it has been received. True: at once
    device    Device(flops_per_second): computing takes virtual time, by its FLOPs. None: no time
    record    how many events are kept; messages and bytes beyond are only counted

    Its ranks share one process: os.environ, the working directory and the globals of modules are
    the same for all of them. So they have no RANK there (use comm.rank), and no process group of
    torch.distributed.

    Raises ValueError for fewer than 1 rank or more than 4096.
    """

    def __init__(self, world_size, *, network=None, buffered=False, device=None, record=400_000):
        check_size("VirtualWorld", world_size, 4096)
        network = Uniform() if network is None else network
        if isinstance(network, type) or not callable(getattr(network, "between", None)):
            raise TypeError(
                f"a network has a method between(source, to), as Uniform() does; {network!r} has "
                "none"
            )
        if device is not None and not isinstance(device, Device):
            raise TypeError(f"a device is Device(flops_per_second), not {device!r}")
        if not isinstance(record, int) or record < 0:
            raise ValueError(f"record is how many events are kept, 0 or more, not {record!r}")
        self.world_size = world_size
        self.network = network
        self.buffered = buffered
        self.device = device
        self.record = record
        self.last = None

    def run(
        self, fn, *args, timeout=120, seed=0, faults=(), on_death="raise", meter=False, **kwargs
    ):
        """Run `fn(*args, **kwargs)` on every rank; returns a Run. See World.run.

        timeout is in real seconds. Tensors on the device "meta" have shapes and sizes and no
        memory: a model may be far larger than this machine. What depends on their values is an
        error.
        """
        faults = tuple(faults)
        check_options(self.world_size, timeout, faults, on_death, virtual=True)
        payloads = parcel.pack(fn, args, kwargs, range(self.world_size), self.world_size)
        virtual = VirtualRun(self, payloads, faults, timeout, ON_DEATH[on_death](), meter)
        facts = virtual.facts
        try:
            virtual.perform(seed)
        finally:
            results = list(map(facts.results.get, facts.ranks))
            self.last = run = Run(facts.ranks, results, facts.lines, virtual.trace())
        if not facts.well:
            raise explain(facts, run)
        return run

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nothing to close; a VirtualWorld can stand wherever a World does."""

    def __repr__(self):
        buffered = ", buffered" if self.buffered else ""
        return f"VirtualWorld({count_of(self.world_size, 'rank')}, {self.network}{buffered})"

    def __reduce__(self):
        raise TypeError(
            "a VirtualWorld cannot travel to its ranks. A function that runs on ranks uses "
            "its parameter `comm`: use `comm` there, not the world"
        )
