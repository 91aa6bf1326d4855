"""How does text become numbers, and numbers text again?

    " the theme"   bytes             32 116 104 101 | 32 116 104 101 109 101        tokens 0 to 255
                   most frequent     [32 116] -> 256, [104 101] -> 257, [256 257] -> 258
                   after 3 merges    258 | 258 109 101

The pair of neighbours that is seen most often becomes a token of its own, again and again, until
the vocabulary is full. Pairs never cross the border between words. Sennrich, Haddow & Birch 2016,
"Neural machine translation of rare words with subword units", sec. 3.2; on bytes, so that every
text can be written: Radford et al. 2019, sec. 2.2.
"""

import re
from collections import Counter, defaultdict

import torch

BYTES = 256
# Letters, digits, or other signs, with the space before them; or white space. Each character once.
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


class BytePairs:
    """A vocabulary: decode(encode(text)) == text for every text. Without merges, of bytes.

    merges: pairs of tokens, in the order in which they were learned; merge i makes token 256 + i.
    """

    def __init__(self, merges=()):
        self.merges = [tuple(pair) for pair in merges]
        # pieces: the bytes of each token. number: the token of each pair.
        self.pieces = [bytes([byte]) for byte in range(BYTES)]
        self.number = {}
        for pair in self.merges:
            left, right = pair
            piece = self.pieces[left] + self.pieces[right]
            # The first merged token is 256: there are 256 pieces before it.
            self.number[pair] = len(self.pieces)
            self.pieces.append(piece)

    def __len__(self):
        """How many tokens there are."""
        return len(self.pieces)

    def __repr__(self):
        return f"BytePairs({len(self)} tokens)"

    def encode(self, text):
        """text -> its tokens, (n,) int64."""
        words = WORD.findall(text)
        # Most words occur many times: each is spelled once.
        spelled = {word: self.spell(word) for word in set(words)}
        tokens = []
        for word in words:
            tokens += spelled[word]
        return torch.tensor(tokens, dtype=torch.int64, device="cpu")

    def spell(self, word):
        """The tokens of one word, in a list: the pair that was learned first is merged first."""

        def turn(pair):
            return self.number.get(pair, len(self))

        tokens = list(word.encode())  # of bytes, at first
        while len(tokens) > 1:
            pair = min(neighbours(tokens), key=turn)
            if pair not in self.number:
                break  # no pair of neighbours was ever merged
            tokens = merged(tokens, pair, self.number[pair])
        return tokens

    def decode(self, tokens):
        """Tokens, a list or (n,) -> text. Invalid UTF-8, which a model may produce, is replaced."""
        if isinstance(tokens, torch.Tensor):
            tokens = tokens.tolist()
        pieces = [self.pieces[token] for token in tokens]
        text = b"".join(pieces)
        return text.decode(errors="replace")


def neighbours(tokens):
    """Each token with the one after it: [1, 2, 3] gives (1, 2) and (2, 3)."""
    return zip(tokens, tokens[1:])


def merged(tokens, pair, token):
    """The list with the pair replaced: merged([1, 1, 1, 2], (1, 1), 9) is [9, 1, 2]."""
    out = []
    i = 0
    while i < len(tokens):
        two = tokens[i : i + 2]  # only one at the end of the word
        if tuple(two) == pair:
            out.append(token)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def learn(text, vocabulary=1024):
    """The BytePairs of this many tokens that the text asks for. Equal texts give equal ones.

    Each different word is kept once with its count, and a merge touches only the words that have
    the pair. Of equally frequent pairs the one with the smaller numbers wins. Raises ValueError if
    the text has too few pairs.
    """
    if vocabulary < BYTES:
        raise ValueError(
            f"a vocabulary holds the {BYTES} bytes at least, so {vocabulary} tokens are too few"
        )
    words = WORD.findall(text)
    frequency = Counter(words)  # of each different word
    spelled = {word: list(word.encode()) for word in frequency}
    counts = Counter()  # pair -> how often it occurs now
    words_with = defaultdict(set)  # pair -> the words that have it, or had it
    merges = []

    def count(word, sign):
        change = sign * frequency[word]
        for pair in neighbours(spelled[word]):
            counts[pair] += change
            words_with[pair].add(word)

    for word in frequency:
        count(word, +1)
    for token in range(BYTES, vocabulary):
        most = max(counts.values(), default=0)
        if most < 1:
            raise ValueError(
                f"the text gives {token} tokens, not {vocabulary}: "
                "take a longer text or a smaller vocabulary"
            )
        # Of the most frequent pairs the smallest, so that the order in `counts` does not matter.
        candidates = [pair for pair, number in counts.items() if number == most]
        pair = min(candidates)
        # Their pairs are counted anew, because the neighbours of the new token changed.
        for word in words_with.pop(pair):
            count(word, -1)
            spelled[word] = merged(spelled[word], pair, token)
            count(word, +1)
        counts.pop(pair)
        merges.append(pair)
    return BytePairs(merges)
