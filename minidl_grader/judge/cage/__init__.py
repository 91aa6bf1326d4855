"""How does code that nobody trusts run, and how is it counted?

    judge                                            | caged
    VirtualWorld: matching, clock, counts, record    |  rank 0: the learner's code   a locked-in process
      strand 0: relay  <--- socket pair, codec --->  |  rank 1: ...
      strand 1: relay  <---                     --->  |
    Keeper  <--- forks, deaths --->                  |  keeper: process 1 of their world, has torch loaded

A rank can only ask: start these sends and receives, wait, compute. Messages, bytes and seconds are counted where it cannot reach.

    arena.py       runs a function for checks: CagedArena, Remote
    relay.py       the judge's side of a rank: believes nothing, asks its Comm;  places.py  errors name the learner's lines
    launch.py      starts the keeper and ranks, knows how they ended;            keeper.py  forks them
    rank.py        the rank: executes cells, calls answers;                      stub.py    its Comm, which asks the relay
    line.py        what it asks, and how answers come;                           jobs.py    its background work
    metering.py    what ranks compute and hold: told to the judge, and looked at before it is believed
    locks.py       what the system offers to lock a process in: namespaces.py, landlock.py, seccomp.py
    codec.py       values as bytes without pickle;                               channel.py carries them
"""
