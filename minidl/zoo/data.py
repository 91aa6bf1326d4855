"""Which examples does each rank see in each step, and how do all agree without a message?

    seed, epoch  -->  a permutation of n, the same on every rank        7 2 9 | 4 0 5 | 1 8 3 | 6
    step         -->  its global batch, whatever the number of ranks              4 0 5
    rank of 2    -->  its part of the batch, in rank order                        4 0 (rank 0)   5 (rank 1)

So two ranks train on what one process would train on, and a run that stops in the middle of an epoch may go on with
more or fewer ranks. The data ships with packages that are here anyway: nothing is downloaded.
"""

from functools import lru_cache
from operator import index
from typing import NamedTuple

import torch

from minidl.zoo.seeds import generator
from minidl.zoo.tokens import BytePairs, learn


class Digits(NamedTuple):
    """Handwritten digits; images are (n, 1, 8, 8) in 0..1, labels (n,) in 0..9."""

    images: torch.Tensor
    labels: torch.Tensor
    held_out_images: torch.Tensor
    held_out_labels: torch.Tensor


class English(NamedTuple):
    """English text as tokens, (n,) and (m,), and the tokenizer that decodes them."""

    tokens: torch.Tensor
    held_out: torch.Tensor
    tokenizer: BytePairs


def digits(held_out=0.2, seed=0):
    """scikit-learn's 1797 digits, split at random; `held_out` is the share that training must not see.

    Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits" (UCI), the test part.
    """
    from sklearn.datasets import load_digits  # takes a second, so not at the top

    check_share(held_out)
    bunch = load_digits()
    images = (
        torch.tensor(bunch.images, dtype=torch.float32, device="cpu").unsqueeze(1) / 16
    )  # ink 0..16 -> 0..1
    labels = torch.tensor(bunch.target, dtype=torch.int64, device="cpu")
    order = torch.randperm(len(images), generator=generator(seed, "digits"), device="cpu")
    kept = order[: len(order) - round(held_out * len(order))]
    rest = order[len(kept) :]
    return Digits(images[kept], labels[kept], images[rest], labels[rest])


def english(vocabulary=1024, held_out=0.1):
    """Python's own documentation as tokens; the last `held_out` of its paragraphs is for measuring only.

    The tokenizer is learned from the training part. Other versions of Python ship other texts, and so learn other
    merges; the size of the vocabulary is what was asked for, and with 256 the tokens are the bytes everywhere.
    """
    check_share(held_out)
    text = paragraphs()
    border = len(text) - round(held_out * len(text))
    train, rest = "\n\n".join(text[:border]), "\n\n".join(text[border:])
    tokenizer = learned(train, vocabulary)
    return English(tokenizer.encode(train), tokenizer.encode(rest), tokenizer)


learned = lru_cache(maxsize=2)(learn)  # a second of work, the same each time


@lru_cache(maxsize=1)
def paragraphs():
    """The paragraphs of `pydoc_data.topics`, a tuple, by topic; one that stands in several topics comes once.

    A fifth of the text is such repetition, and a held-out paragraph that was also trained on would measure memory.
    """
    from pydoc_data.topics import topics

    first = {}  # in other topics the lines may be indented otherwise
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            first.setdefault(" ".join(paragraph.split()), paragraph.strip("\n"))
    first.pop("", None)
    return tuple(first.values())


def windows(tokens, context):
    """Tokens (n,) -> (rows, context + 1); a row ends with the token that the next one begins with.

    A row's first `context` tokens are the input, its last `context` the targets, so each token but the first is a target
    once. What does not fill a row is left out. A view: rows share the memory of `tokens`.
    """
    if len(tokens) < context + 1:
        raise ValueError(f"{len(tokens)} tokens give no window of {context} + 1")
    return tokens.unfold(0, context + 1, context)


class Sampler:
    """One epoch of index tensors for this rank, as in `for indices in sampler`; the next `for` is the next epoch.

    n examples; `batch` is the size of the global batch, over all ranks. A rank's part of b rows has b // world_size of them
    or one more, lower ranks first. The last batch of an epoch holds what is left, and a rank's part may be empty: every
    rank takes as many steps. A loop that was left in the middle, or load(), goes on where it stopped.
    Raises ValueError or TypeError for numbers that make no sense.
    """

    def __init__(self, n, batch, rank=0, world_size=1, seed=0):
        self.n, self.batch = whole("n", n, 1), whole("batch", batch, 1)
        self.rank, self.world_size = whole("rank", rank, 0), whole("world_size", world_size, 1)
        self.seed = whole("seed", seed, 0)
        if self.rank >= self.world_size:
            raise ValueError(f"there is no rank {rank} among {world_size} ranks; they count from 0")
        self.epoch = self.step = 0  # of the batch that comes next

    def __len__(self):
        """Steps in an epoch."""
        return -(-self.n // self.batch)

    def __repr__(self):
        where = f"rank {self.rank} of {self.world_size}, epoch {self.epoch}, step {self.step}"
        return f"Sampler({self.n} examples in batches of {self.batch}, {where})"

    def order(self, epoch):
        """The permutation of an epoch, (n,): from seed, epoch and n alone."""
        return torch.randperm(self.n, generator=generator(self.seed, "epoch", epoch), device="cpu")

    def part(self, rows):
        """This rank's part of a global batch: (b,) -> (b // world_size or one more,)."""
        return rows.tensor_split(self.world_size)[self.rank]

    def __iter__(self):
        epoch = self.epoch
        batches = self.order(epoch).split(self.batch)
        while self.epoch == epoch:
            part = self.part(batches[self.step])
            self.step += 1  # before the yield: for state() this one is done
            if self.step == len(self):
                self.epoch, self.step = epoch + 1, 0
            yield part

    def state(self):
        """What load() needs to go on after the batch that was handed out last: plain numbers, no rank among them."""
        return {
            "n": self.n,
            "batch": self.batch,
            "seed": self.seed,
            "epoch": self.epoch,
            "step": self.step,
        }

    def load(self, state):
        """Go on where the sampler stopped that gave this state, on any number of ranks.

        Raises ValueError for the state of other data, another batch size or seed: the order would be another one.
        """
        if set(state) != set(self.state()):
            raise ValueError(
                f"a sampler's state has {', '.join(self.state())}, not {', '.join(map(str, state)) or 'nothing'}"
            )
        for name in ("n", "batch", "seed"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"this sampler has {name} = {getattr(self, name)}, the saved state has {name} = {state[name]}"
                )
        epoch, step = whole("epoch", state["epoch"], 0), whole("step", state["step"], 0)
        if step >= len(self):
            raise ValueError(f"an epoch has steps 0 to {len(self) - 1}, not {step}")
        self.epoch, self.step = epoch, step


def whole(name, value, least):
    """The value as an int; says in words what is wrong with it."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, not {value!r}") from None
    if number < least:
        raise ValueError(f"{name} is {least} or more, not {number}")
    return number


def check_share(held_out):
    """Raises ValueError unless something is left for both sides."""
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is a share between 0 and 1, not {held_out}")
