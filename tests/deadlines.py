"""How long does a test wait before it gives up? Long, since a deadline costs nothing when the test
passes.

    subprocess.run(command, timeout=generous(30))     # 30 s at most on an idle machine

A laptop may be five times slower than ours and busy with other work. A short number stands only
where the test is about a time-out that expires. A deadline is never a claim: what must come before
something else is compared with that, such as the time-out that it must not wait for.
"""

SLOWEST = 10  # a slow, busy machine against an idle one


def generous(seconds):
    """The deadline for something that takes at most `seconds` on an idle machine."""
    return SLOWEST * seconds
