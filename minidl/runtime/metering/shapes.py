"""Which shape has the result of an operation on meta tensors, if somebody has asked before?

    rank 0   layer_norm of (1, 2048, 4096) ---> torch works it out, in Python, in a millisecond --.
    rank 1   layer_norm of (1, 2048, 4096) ---> the same answer, in a few microseconds <----------'

Ranks of a VirtualWorld do the same on the same shapes, and blocks of a model do, too. Only operations whose results are
new tensors are remembered; views, and what changes a tensor in place, always go to torch. Left out: errors, which are
raised anew, and tensors that are not strided.
"""

import torch

MOST = 20_000  # answers that are kept
_answers, _fresh = {}, {}


def call(func, args, kwargs):
    """func(*args, **kwargs); for meta tensors the answer comes from memory where it is known."""
    key = asked(func, args, kwargs) if gives_new_tensors(func) else None
    if key is None:
        return func(*args, **kwargs)
    known = _answers.get(key)
    if known is None:
        out = func(*args, **kwargs)
        spec = told(out)
        if spec is not None and len(_answers) < MOST:
            _answers[key] = spec
        return out
    several, tensors = known
    out = tuple(
        None if t is None else torch.empty_strided(t[0], t[1], dtype=t[2], device="meta")
        for t in tensors
    )
    return out if several else out[0]


def gives_new_tensors(func):
    """Does the schema say that nothing is changed in place, and that no result is a view?"""
    known = _fresh.get(func)
    if known is None:
        schema = func._schema
        known = _fresh[func] = not any(
            part.alias_info for part in (*schema.arguments, *schema.returns)
        )
    return known


def asked(func, args, kwargs):
    """A key of the operation and of all that its result's shape depends on; None unless all tensors are meta tensors."""
    found = []
    try:
        key = (
            func,
            *(part(arg, found) for arg in args),
            *((name, part(kwargs[name], found)) for name in sorted(kwargs)),
        )
        hash(key)
    except TypeError:
        return None
    return key if found and all(found) else None


def part(arg, found):
    """What of an argument is in the key. A number stands with its type, because 1 and 1.0 give results of unlike dtypes."""
    if isinstance(arg, torch.Tensor):
        found.append(
            arg.is_meta
            and type(arg) in (torch.Tensor, torch.nn.Parameter)
            and arg.layout is torch.strided
        )
        return arg.shape, arg.stride() if found[-1] else None, arg.dtype
    if isinstance(arg, (list, tuple)):
        return tuple(part(each, found) for each in arg)
    return type(arg), arg


def told(out):
    """(are there several?, shape, strides and dtype of each tensor), or None for what is no new meta tensor."""
    several = isinstance(out, (tuple, list))
    parts = tuple(out) if several else (out,)
    if all(
        each is None
        or (isinstance(each, torch.Tensor) and each.is_meta and each.layout is torch.strided)
        for each in parts
    ):
        return several, tuple(
            None if each is None else (tuple(each.shape), each.stride(), each.dtype)
            for each in parts
        )
    return None
