"""Is what came back what was wanted, and if not, where does it differ?

    wanted (4,) 1 2 3 4, got (4,) 1 2 0 4   ->  "element 2 is 0, not 3"

Values are tensors, numbers, None, texts, and lists, tuples and dicts of them. `...` wants nothing in particular.
"""

import torch

FEW = 6  # elements of a tensor that are spelled out


def difference(got, wanted, within=0.0, what="it"):
    """ "" if `got` is what was wanted, else in words where it is not. Numbers may be off by `within`, relative and absolute."""
    if wanted is ...:
        return ""
    if isinstance(wanted, torch.Tensor):
        return _tensor_difference(got, wanted, within, what)
    if isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            return f"{what} is {spelled(got)}, not {len(wanted)} values"
        return next(
            filter(
                None,
                (
                    difference(g, w, within, f"value {i}")
                    for i, (g, w) in enumerate(zip(got, wanted))
                ),
            ),
            "",
        )
    if isinstance(wanted, dict):
        if not isinstance(got, dict) or set(got) != set(wanted):
            return f"{what} is {spelled(got)}, not a dict with {', '.join(map(str, wanted))}"
        return next(
            filter(None, (difference(got[key], wanted[key], within, str(key)) for key in wanted)),
            "",
        )
    if isinstance(wanted, float) and isinstance(got, (int, float)) and not isinstance(got, bool):
        return (
            ""
            if abs(got - wanted) <= within * max(1.0, abs(wanted))
            else f"{what} is {got:.6g}, not {wanted:.6g}"
        )
    same = type(got) is type(wanted) and got == wanted
    return "" if same else f"{what} is {spelled(got)}, not {spelled(wanted)}"


def _tensor_difference(got, wanted, within, what):
    if not isinstance(got, torch.Tensor):
        return f"{what} is {spelled(got)}, not a tensor"
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{what} is {kind(got)}, not {kind(wanted)}"
    if torch.equal(got, wanted):
        return ""
    close = torch.isclose(got, wanted, rtol=within, atol=within) if within else got == wanted
    if bool(close.all()):
        return ""
    at = int((~close).reshape(-1).nonzero()[0])
    place = f"element {at} of {what}" if what != "it" else f"element {at}"
    return f"{place} is {got.reshape(-1)[at].item():.6g}, not {wanted.reshape(-1)[at].item():.6g}"


def kind(tensor):
    """Shape and dtype: "(4,) float32"."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def spelled(value):
    """A value in a few words."""
    if isinstance(value, torch.Tensor):
        numbers = (
            " ".join(f"{v:.6g}" for v in value.detach().reshape(-1)[:FEW].tolist())
            if value.numel()
            else "nothing"
        )
        return numbers + (f" ... ({value.numel()} elements)" if value.numel() > FEW else "")
    if isinstance(value, (list, tuple)):
        return f"{len(value)} values"
    return repr(value)[:80]
