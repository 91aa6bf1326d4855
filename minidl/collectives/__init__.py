"""What can N ranks do together? Nine collectives, here for three ranks.

    broadcast       a . .  ->  a  a  a          scatter         abc . .  ->  a  b  c
    reduce          a b c  ->  S  .  .          gather          a b c    ->  abc . .
    all_reduce      a b c  ->  S  S  S          all_gather      a b c    ->  abc abc abc
    reduce_scatter  three chunks on each rank -> chunk r of the sum on rank r
    all_to_all      abc def ghi -> adg beh cfi  barrier  no rank leaves before all entered

Each file is one way to do them: naive.py through the root, ring.py, tree.py, doubling.py,
hierarchical.py; native.py hands them to the backend. A function has the same name and meaning in
each file, so it can be passed as a policy: train(..., all_reduce=ring.all_reduce). The costs are in
minidl/costs/collectives.py. Read ring.py first.
"""
