"""How does code that is not trusted run, and how is it counted?

    judge                                          |  caged
    VirtualWorld: matching, clock, counts, record  |  rank 0: the learner's code, locked in
      strand 0: relay  <--- socket, codec --->     |  rank 1: ...
      strand 1: relay  <---               --->     |
    Cage  <--- forks, deaths --->                  |  keeper: process 1 of their world

A rank can only ask: start these sends and receives, wait, compute. Messages, bytes and seconds are
counted where it cannot reach.

    judge's side   caged_arena.py   runs a function for checks: CagedArena, Remote
                   relay.py         does what a rank asks;  account.py  what it has under way
                   places.py        errors name the learner's lines
                   cage_launch.py   starts the keeper and ranks, knows how they ended
    rank's side    rank_keeper.py   forks ranks
                   caged_rank.py    executes cells, calls answers
                   caged_comm.py    the Comm;  line.py  how it asks;  jobs.py  background work
                   locks.py         locks it in: namespaces.py, landlock.py, rights.py, seccomp.py
    both           codec.py         values as bytes, without pickle;  channel.py  carries them
                   caged_metering.py  what ranks compute and hold: reported there, checked here
"""
