"""Is a result what was wanted, and if not, where does it differ?

    wanted (4,) 1 2 3 4, got (4,) 1 2 0 4   ->  "element 2 is 0, not 3"

Values are tensors, numbers, None, strings, and lists, tuples and dicts of them. `...` is any value.
"""

import torch

from minidl.runtime.comms.record import size_in_words

FEW = 6  # elements of a tensor that are written out


def difference(got, wanted, within=0.0, name="it"):
    """Where `got` differs from `wanted`, in words; "" if it does not.

    Numbers may be off by `within`, both relative and absolute. `name` is what the value is called.
    """
    if wanted is ...:
        return ""
    if isinstance(wanted, torch.Tensor):
        return _tensor_difference(got, wanted, within, name)
    parts = _parts(wanted)
    if parts is not None:
        found = _parts(got)
        # A list may be given for a tuple, but not for a dict.
        alike = isinstance(got, dict) == isinstance(wanted, dict)
        if found is not None and alike and found.keys() == parts.keys():
            for part, value in parts.items():
                words = difference(found[part], value, within, str(part))
                if words:
                    return words
            return ""
    # True is an int in Python, and not what a learner means by a number.
    elif isinstance(wanted, float) and isinstance(got, (int, float)) and type(got) is not bool:
        if abs(got - wanted) <= within * max(1.0, abs(wanted)):
            return ""
        return f"{name} is {got:.6g}, not {wanted:.6g}"
    elif type(got) is type(wanted) and got == wanted:
        return ""
    return f"{name} is {in_few_words(got)}, not {in_few_words(wanted)}"


def _parts(value):
    """{name: part} of a list, tuple or dict; None if the value has no parts."""
    if isinstance(value, (list, tuple)):
        return {f"value {i}": part for i, part in enumerate(value)}
    return value if isinstance(value, dict) else None


def _tensor_difference(got, wanted, within, name):
    if not isinstance(got, torch.Tensor):
        return f"{name} is {in_few_words(got)}, not a tensor"
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        sizes = [size_in_words(tensor.shape, tensor.dtype) for tensor in (got, wanted)]
        return f"{name} is {', not '.join(sizes)}"
    # The usual case first: equal tensors need no tolerance.
    if torch.equal(got, wanted):
        return ""
    equal = torch.isclose(got, wanted, rtol=within, atol=within)
    if equal.all():
        return ""
    index = int((~equal).reshape(-1).nonzero()[0])  # the first element that differs, flattened
    place = f"element {index}" if name == "it" else f"element {index} of {name}"
    found = got.reshape(-1)[index].item()
    expected = wanted.reshape(-1)[index].item()
    return f"{place} is {found:.6g}, not {expected:.6g}"


def in_few_words(value):
    """A value, shortened: the first elements of a tensor, the length of a list, else its repr."""
    if isinstance(value, torch.Tensor):
        if not value.numel():
            return "nothing"
        shown = value.detach().reshape(-1)[:FEW].tolist()
        numbers = " ".join(f"{number:.6g}" for number in shown)
        if value.numel() > FEW:
            numbers += f" ... ({value.numel()} elements)"
        return numbers
    if isinstance(value, (list, tuple)):
        return f"{len(value)} values"
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, value))}"
    return repr(value)[:80]
