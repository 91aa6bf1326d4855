"""Which examples does each rank see in each step, and how do all agree without a message?

    seed, epoch  -->  a permutation of n, the same on every rank        7 2 9 | 4 0 5 | 1 8 3 | 6
    step         -->  its global batch, whatever the number of ranks              4 0 5
    rank of 2    -->  its part of the batch, in rank order                 4 0 (rank 0)   5 (rank 1)

So two ranks train on what one process would train on, and a run that stops in the middle of an
epoch may go on with more or fewer ranks. The data ships with packages that are here anyway: nothing
is downloaded.
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
    """scikit-learn's 1797 digits, split at random; training must not see the share `held_out`.

    Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits" (UCI), the test part.
    """
    # Importing it takes a second, so it does not stand at the top.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    ink = torch.tensor(bunch.images, dtype=torch.float32, device="cpu")  # (n, 8, 8), 0 to 16
    images = ink.unsqueeze(1) / 16  # (n, 1, 8, 8), 0 to 1
    labels = torch.tensor(bunch.target, dtype=torch.int64, device="cpu")
    n = len(images)
    order = shuffled(n, seed, "digits")
    border = training_size(n, held_out)
    train = order[:border]
    rest = order[border:]
    return Digits(
        images=images[train],
        labels=labels[train],
        held_out_images=images[rest],
        held_out_labels=labels[rest],
    )


def english(vocabulary=1024, held_out=0.1):
    """Python's own documentation as tokens; the share `held_out` at its end is for measuring.

    The tokenizer is learned from the training part. Other versions of Python ship other texts, and
    so learn other merges; the size of the vocabulary is what was asked for, and with 256 the tokens
    are the bytes everywhere.
    """
    text = paragraphs()
    # Whole paragraphs, so that no sentence is in both parts.
    border = training_size(len(text), held_out)
    train = "\n\n".join(text[:border])
    rest = "\n\n".join(text[border:])
    tokenizer = learned(train, vocabulary)
    return English(
        tokens=tokenizer.encode(train),
        held_out=tokenizer.encode(rest),
        tokenizer=tokenizer,
    )


# Learning takes a second, and gives the same each time.
learned = lru_cache(maxsize=2)(learn)


@lru_cache(maxsize=1)
def paragraphs():
    """The paragraphs of `pydoc_data.topics`, a tuple, by topic; each of them once.

    A fifth of the text is such repetition, and a held-out paragraph that was also trained on would
    measure memory.
    """
    from pydoc_data.topics import topics

    first = {}
    for name in sorted(topics):
        topic = topics[name]
        for paragraph in topic.split("\n\n"):
            # In another topic the same words may be indented otherwise.
            words = " ".join(paragraph.split())
            first.setdefault(words, paragraph.strip("\n"))
    # Three line ends in a row leave a paragraph without words.
    first.pop("", None)
    return tuple(first.values())


def windows(tokens, context):
    """Tokens (n,) -> (rows, context + 1); a row ends with the token that the next one begins with.

    A row's first `context` tokens are the input, its last `context` the targets, so each token but
    the first is a target once. What does not fill a row is left out. A view: rows share the memory
    of `tokens`.
    """
    size = context + 1
    n = len(tokens)
    if n < size:
        raise ValueError(f"{n} tokens give no window of {context} + 1")
    # 7 tokens, context 3:  0 1 2 3 / 3 4 5 6
    return tokens.unfold(0, size, context)


class Sampler:
    """This rank's indices, a tensor a step: `for indices in sampler` is one epoch.

    n examples; `batch` is the size of the global batch, over all ranks. A rank's part of b rows has
    b // world_size of them or one more, lower ranks first. The last batch of an epoch holds what is
    left, and a rank's part may be empty: every rank takes as many steps. A loop that was left in
    the middle, or load(), goes on where it stopped. Raises ValueError or TypeError for numbers that
    make no sense.
    """

    def __init__(self, n, batch, rank=0, world_size=1, seed=0):
        self.n = whole_number("n", n, at_least=1)
        self.batch = whole_number("batch", batch, at_least=1)
        self.rank = whole_number("rank", rank, at_least=0)
        self.world_size = whole_number("world_size", world_size, at_least=1)
        self.seed = whole_number("seed", seed, at_least=0)
        if self.rank >= self.world_size:
            raise ValueError(f"there is no rank {rank} among {world_size} ranks; they count from 0")
        # The epoch and step of the next batch.
        self.epoch = 0
        self.step = 0

    def __len__(self):
        """Steps in an epoch."""
        return -(-self.n // self.batch)

    def __repr__(self):
        return (
            f"Sampler({self.n} examples in batches of {self.batch}, "
            f"rank {self.rank} of {self.world_size}, "
            f"epoch {self.epoch}, step {self.step})"
        )

    def order(self, epoch):
        """The permutation of an epoch, (n,): from seed, epoch and n alone."""
        return shuffled(self.n, self.seed, "epoch", epoch)

    def part(self, rows):
        """This rank's part of a global batch: (b,) -> (b // world_size or one more,)."""
        parts = rows.tensor_split(self.world_size)
        return parts[self.rank]

    def __iter__(self):
        # From where the last loop stopped, to the end of that epoch.
        epoch = self.epoch
        order = self.order(epoch)
        batches = order.split(self.batch)
        while self.epoch == epoch:
            part = self.part(batches[self.step])
            # Before the yield: for state() this batch is done.
            self.step += 1
            if self.step == len(self):
                self.epoch += 1
                self.step = 0
            yield part

    def state(self):
        """What load() needs to go on after the last batch: numbers that all ranks share."""
        return {
            "n": self.n,
            "batch": self.batch,
            "seed": self.seed,
            "epoch": self.epoch,
            "step": self.step,
        }

    def load(self, state):
        """Go on where the sampler stopped that gave this state, on any number of ranks.

        Raises ValueError for the state of other data, another batch size or seed: their order
        differs.
        """
        own = self.state()
        if set(state) != set(own):
            expected = ", ".join(own)
            found = ", ".join(map(str, state)) or "nothing"
            raise ValueError(f"a sampler's state has {expected}, not {found}")
        for name in ("n", "batch", "seed"):
            if state[name] != own[name]:
                raise ValueError(
                    f"this sampler has {name} = {own[name]}, "
                    f"the saved state has {name} = {state[name]}"
                )
        # Both are checked before anything changes.
        epoch = whole_number("epoch", state["epoch"], at_least=0)
        step = whole_number("step", state["step"], at_least=0)
        last = len(self) - 1
        if step > last:
            raise ValueError(f"an epoch has steps 0 to {last}, not {step}")
        self.epoch = epoch
        self.step = step


def whole_number(name, value, at_least):
    """The value as an int. Raises TypeError or ValueError, in words, if it does not fit."""
    try:
        number = index(value)  # refuses 2.0, takes numpy's integers
    except TypeError:
        raise TypeError(f"{name} is a whole number, not {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name} is {at_least} or more, not {number}")
    return number


def training_size(n, held_out):
    """How many of n examples are for training, if the share `held_out` is for measuring.

    Raises ValueError if held_out is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is a share between 0 and 1, not {held_out}")
    for_measuring = round(held_out * n)
    return n - for_measuring


def shuffled(n, *key):
    """The numbers 0 to n - 1 in an order that depends on the key alone: (n,) int64."""
    source = generator(*key)
    return torch.randperm(n, generator=source, device="cpu")
