"""Which models are small enough to train here, and how do all layouts start from the same weights?

    tokens (B, T) --> tokens + positions --> block 0 --> ... --> block L-1 --> norm --> head --> (B, T, vocabulary)

    block            x --+--> norm1 --> attention --(+)--+--> norm2 --> up, gelu, down --(+)--> x
                         '---------------------------'   '----------------------------'

Each parameter is drawn from a generator of its own, by its full name and whole shape. So one process, a pipeline
stage, a shard and a slice of a matrix see the same model, and a test can compare them number by number.
Left out of the GPT: dropout, rotary positions, a cache for generation.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minidl.zoo.seeds import generator


def initial(name, shape, seed, std=None):
    """The first values of the parameter `name`: one tensor of its whole shape, the same for every layout.

    Who holds a part draws the whole and cuts it: initial(name, (4 * C, C), seed)[C:2 * C] are rank 1's rows of four.
    A vector is zeros if its name ends in "bias", ones otherwise (norms). The rest is normal with deviation `std`; by
    default sqrt(2 / fan_in), which keeps the variance through ReLUs (He et al. 2015, sec. 2.2).
    fan_in: numbers that enter one output, the product of shape[1:].
    """
    shape = tuple(shape)
    if len(shape) < 2:
        return torch.full(shape, 0.0 if name.endswith("bias") else 1.0, device="cpu")
    std = math.sqrt(2 / math.prod(shape[1:])) if std is None else std
    return std * torch.randn(shape, generator=generator(seed, name, shape), device="cpu")


@torch.no_grad()
def initialise(module, seed=0, prefix="", std=None):
    """The module has its initial weights, and is returned; torch's own generator is not touched.

    prefix: what stands before the module's names in the whole model, such as "blocks.3." for one block of a stage.
    A tied weight is drawn once, by its first name. Meta tensors have shapes only, and stay as they are.
    """
    for name, parameter in module.named_parameters():
        if not parameter.is_meta:
            parameter.copy_(initial(prefix + name, parameter.shape, seed, std))
    return module


class MLP(nn.Module):
    """Fully connected layers with ReLU between them: MLP([64, 128, 10]) has two.

    x: (B, ...) with widths[0] numbers a row -> (B, widths[-1])
    """

    def __init__(self, widths, seed=0):
        super().__init__()
        if len(widths) < 2:
            raise ValueError(
                f"an MLP needs the width of its input and of its output at least, not {list(widths)}"
            )
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        initialise(self, seed)

    def forward(self, x):
        x = x.flatten(1)  # (B, widths[0])
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class CNN(nn.Module):
    """Two convolutions and a linear layer for digits, as LeNet (LeCun et al. 1998, sec. II.B) at 8 x 8.

    x: (B, 1, 8, 8) -> (B, 10). batch_norm: normalise after each convolution, in place of its bias.
    """

    def __init__(self, batch_norm=False, channels=(16, 32), classes=10, seed=0):
        super().__init__()
        a, b = channels
        self.conv1 = nn.Conv2d(1, a, 3, padding=1, bias=not batch_norm)
        self.norm1 = nn.BatchNorm2d(a) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(a, b, 3, padding=1, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(b) if batch_norm else nn.Identity()
        self.head = nn.Linear(b * 2 * 2, classes)
        initialise(self, seed)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)  # (B, a, 4, 4)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)  # (B, b, 2, 2)
        return self.head(x.flatten(1))  # (B, classes)


class Attention(nn.Module):
    """Each position reads from itself and from those before it.   x: (B, T, C) -> (B, T, C)

    Vaswani et al. 2017, "Attention is all you need", sec. 3.2. h heads of C / h numbers each; head i uses rows
    i * C / h to (i + 1) * C / h of query, key and value.
    """

    def __init__(self, width, heads):
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} does not split over {heads} heads")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        T = x.shape[1]
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # (B, h, T, C / h) each
        scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, h, T, T)
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        shares = scores.masked_fill(future, -math.inf).softmax(-1)  # (B, h, T, T), rows add to 1
        return self.out((shares @ v).transpose(1, 2).flatten(2))  # (B, T, C)


class Block(nn.Module):
    """Attention and a two-layer network, each after a norm and added to its input.   x: (B, T, C) -> (B, T, C)

    Pre-norm: Xiong et al. 2020, "On layer normalization in the transformer architecture", fig. 1b.
    """

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.up, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))  # (B, T, 4 C) between up and down


class GPT(nn.Module):
    """A decoder-only transformer: for each position, scores of the token that comes next.

    tokens: (B, T) whole numbers, T <= context -> (B, T, vocabulary). Without arguments it is the GPT of the benchmarks,
    with 3.7 M parameters. tied: the head uses the tokens' embedding (torch's to_empty() parts the two again). Within
    torch.device("meta") it has shapes only. All weights start with deviation 0.02, so that the first loss is about
    log(vocabulary). recompute: so many of the first blocks keep their input alone, and are computed again in the backward
    pass (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Raises ValueError for more tokens than the
    context, and for more blocks to recompute than there are.
    Radford et al. 2018, "Improving language understanding by generative pre-training", sec. 4.1; 2019 (GPT-2), sec. 2.3.
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
        self.context, self.recompute = context, recompute
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        initialise(self, seed, std=0.02)

    def forward(self, tokens):
        T = tokens.shape[1]
        if T > self.context:
            raise ValueError(f"{T} tokens do not fit a context of {self.context}")
        x = self.tokens(tokens) + self.positions(torch.arange(T, device=tokens.device))  # (B, T, C)
        for i, block in enumerate(self.blocks):
            again = i < self.recompute and torch.is_grad_enabled()
            x = (
                checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
                if again
                else block(x)
            )
        return self.head(self.norm(x))  # (B, T, vocabulary)


def next_token_loss(model, windows):
    """The mean cross-entropy of each token given those before it; 0, with zero gradients, for no window at all.

    windows: (B, T + 1) -> a number. A rank without rows can so take part in a step.
    """
    logits, targets = model(windows[:, :-1]), windows[:, 1:]  # (B, T, vocabulary), (B, T)
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / max(1, targets.numel())
