"""Which models are small enough to train here, and how do all layouts start from the same weights?

    tokens (B, T) -> tokens + positions -> block 0 -> ... -> norm -> head -> (B, T, vocabulary)

    block            x --+--> norm1 --> attention --(+)--+--> norm2 --> up, gelu, down --(+)--> x
                         '---------------------------'   '----------------------------'

Each parameter is drawn from a generator of its own, by its full name and whole shape. So one
process, a pipeline stage, a shard and a slice of a matrix see the same model, and a test can
compare them number by number. Left out of the GPT: dropout, rotary positions, a cache for
generation.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minidl.zoo.seeds import generator


def initial(name, shape, seed, std=None):
    """The first values of the parameter `name`, whole: the same tensor for every layout.

    A rank that holds a part draws the whole and cuts it: rank 1 of 4 takes the rows C to 2 C of
    initial(name, (4 * C, C), seed). A vector is zeros if its name ends in "bias", ones otherwise
    (norms). The rest is normal with deviation `std`; by default sqrt(2 / fan_in), which keeps the
    variance through ReLUs (He et al. 2015, sec. 2.2). fan_in: how many numbers enter one output.
    """
    shape = tuple(shape)
    if len(shape) < 2:
        value = 1.0
        if name.endswith("bias"):
            value = 0.0
        return torch.full(shape, value, device="cpu")
    if std is None:
        fan_in = math.prod(shape[1:])  # 9 * C for a 3 x 3 convolution of C channels
        std = math.sqrt(2 / fan_in)
    source = generator(seed, name, shape)
    normal = torch.randn(shape, generator=source, device="cpu")
    return std * normal


@torch.no_grad()
def initialise(module, seed=0, prefix="", std=None):
    """The module has its initial weights, and is returned; torch's own generator is not touched.

    prefix: what stands before the module's names in the whole model, such as "blocks.3." for one
    block of a stage. A tied weight is drawn once, by its first name. Meta tensors have shapes only,
    and stay as they are.
    """
    for name, parameter in module.named_parameters():
        if not parameter.is_meta:
            full_name = prefix + name
            value = initial(full_name, parameter.shape, seed, std)
            parameter.copy_(value)
    return module


class MLP(nn.Module):
    """Fully connected layers with ReLU between them: MLP([64, 128, 10]) has two.

    x: (B, ...) with widths[0] numbers a row -> (B, widths[-1])
    """

    def __init__(self, widths, seed=0):
        super().__init__()
        if len(widths) < 2:
            raise ValueError(
                "an MLP needs at least the width of its input and of its output, "
                f"not {list(widths)}"
            )
        self.layers = nn.ModuleList()
        for inputs, outputs in zip(widths, widths[1:]):
            layer = nn.Linear(inputs, outputs)
            self.layers.append(layer)
        initialise(self, seed)

    def forward(self, x):
        """The output of the last layer."""
        x = x.flatten(1)  # (B, widths[0])
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x)
            x = F.relu(x)
        return last(x)


class CNN(nn.Module):
    """Two convolutions and a linear layer for 8 x 8 digits: LeNet (LeCun et al. 1998, sec. II.B).

    x: (B, 1, 8, 8) -> (B, 10). batch_norm: normalise after each convolution, in place of its bias.
    """

    def __init__(self, batch_norm=False, channels=(16, 32), classes=10, seed=0):
        super().__init__()
        a, b = channels
        if batch_norm:
            norm = nn.BatchNorm2d
        else:
            norm = nn.Identity  # which ignores the number of channels
        bias = not batch_norm  # a norm has its own
        self.conv1 = nn.Conv2d(1, a, 3, padding=1, bias=bias)
        self.norm1 = norm(a)
        self.conv2 = nn.Conv2d(a, b, 3, padding=1, bias=bias)
        self.norm2 = norm(b)
        features = b * 2 * 2  # 8 x 8, halved twice
        self.head = nn.Linear(features, classes)
        initialise(self, seed)

    def forward(self, x):
        """Scores of the ten digits."""
        x = self.norm1(self.conv1(x))  # (B, a, 8, 8)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)  # (B, a, 4, 4)
        x = self.norm2(self.conv2(x))  # (B, b, 4, 4)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)  # (B, b, 2, 2)
        x = x.flatten(1)  # (B, b * 4)
        return self.head(x)  # (B, classes)


class Attention(nn.Module):
    """Each position reads from itself and from those before it.   x: (B, T, C) -> (B, T, C)

    Vaswani et al. 2017, "Attention is all you need", sec. 3.2. h heads of C / h numbers each; head
    i uses rows i * C / h to (i + 1) * C / h of query, key and value.
    """

    def __init__(self, width, heads):
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} does not split over {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        """Read from positions up to one's own."""
        T = x.shape[1]
        q = self.in_heads(self.query(x))  # (B, h, T, C / h), as k and v
        k = self.in_heads(self.key(x))
        v = self.in_heads(self.value(x))
        size = q.shape[-1]
        scores = q @ k.mT / math.sqrt(size)  # (B, h, T, T)
        # Row t is what position t reads from; a 1 is in its future.  0 1 1 / 0 0 1 / 0 0 0
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        shares = scores.masked_fill(future, -math.inf).softmax(-1)  # each row adds up to 1
        y = shares @ v  # (B, h, T, C / h)
        joined = y.transpose(1, 2).flatten(2)  # (B, T, C)
        return self.out(joined)

    def in_heads(self, x):
        """(B, T, C) -> (B, h, T, C / h)"""
        x = x.unflatten(-1, (self.heads, -1))  # (B, T, h, C / h)
        return x.transpose(1, 2)


class Block(nn.Module):
    """Attention and a two-layer network, each after a norm and added to its input.

    x: (B, T, C) -> the same. Pre-norm: Xiong et al. 2020, "On layer normalization in the
    transformer architecture", fig. 1b.
    """

    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        hidden = 4 * width
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x):
        """x, changed twice by adding to it."""
        x = x + self.attention(self.norm1(x))
        hidden = self.up(self.norm2(x))  # (B, T, 4 C)
        hidden = F.gelu(hidden)
        return x + self.down(hidden)


class GPT(nn.Module):
    """A decoder-only transformer: for each position, scores of the token that comes next.

    tokens: (B, T) whole numbers, T <= context -> (B, T, vocabulary). Without arguments it is the
    GPT of the benchmarks, with 3.7 M parameters. tied: the head uses the tokens' embedding (torch's
    to_empty() separates the two again). Within torch.device("meta") it has shapes only. All weights
    start with deviation 0.02, so that the first loss is about log(vocabulary). recompute: this many
    of the first blocks keep only their input, and are computed again in the backward pass (Chen et
    al. 2016, "Training deep nets with sublinear memory cost"). Raises ValueError for more tokens
    than the context, and for more blocks to recompute than there are. Radford et al. 2018,
    "Improving language understanding by generative pre-training", sec. 4.1; 2019 (GPT-2), sec. 2.3.
    """

    def __init__(
        self,
        vocabulary=1024,
        context=128,
        width=256,
        heads=4,
        layers=4,
        tied=False,
        recompute=0,
        seed=0,
    ):
        super().__init__()
        if not 0 <= recompute <= layers:
            raise ValueError(f"of {layers} blocks 0 to {layers} can be recomputed, not {recompute}")
        self.context = context
        self.recompute = recompute
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        blocks = [Block(width, heads) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        initialise(self, seed, std=0.02)

    def forward(self, tokens):
        """Scores of the next token at each position."""
        T = tokens.shape[1]
        if T > self.context:
            raise ValueError(f"{T} tokens do not fit a context of {self.context}")
        positions = torch.arange(T, device=tokens.device)  # 0, 1, ..., T - 1
        # Each token is the sum of what it is and where it stands.
        x = self.tokens(tokens) + self.positions(positions)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            # Without gradients there is no backward pass to compute it again for.
            if i < self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x)
        normed = self.norm(x)
        return self.head(normed)  # (B, T, vocabulary)


def next_token_loss(model, windows):
    """The mean cross-entropy of each token, given those before it.

    windows: (B, T + 1) -> a number; 0 with zero gradients if there is no window, so that a rank
    without rows can take part in a step.
    """
    inputs = windows[:, :-1]  # (B, T)
    targets = windows[:, 1:]  # (B, T), the token after each input
    logits = model(inputs)  # (B, T, vocabulary)
    scores = logits.flatten(0, 1)  # (B * T, vocabulary)
    total = F.cross_entropy(scores, targets.flatten(), reduction="sum")
    count = max(1, targets.numel())  # no division by 0 if there is no row
    return total / count
