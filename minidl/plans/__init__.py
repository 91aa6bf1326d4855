"""Plans: who holds what, and who does what when? Integers and names only; no tensor, no message.

buckets.py   which gradients travel together
shards.py    which part of a unit's parameters belongs to which rank
"""
