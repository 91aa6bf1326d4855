"""Every text comes back as it was; learning merges what a plain recount merges."""

from collections import Counter

import pytest
import torch

from minidl.zoo.data import paragraphs
from minidl.zoo.tokens import WORD, BytePairs, learn, merged

STRANGE = [
    "",
    " ",
    "\n\n  x",
    "naïve café",
    "日本語 と 🙂",
    "a\tb\r\nc   ",
    "x=1;--y",
    "\x00\x7f",
    "trailing  ",
    "1234.5e-10 __init__",
]


def learned_slowly(text, vocabulary):
    """All pairs counted anew for each merge."""
    words, merges = Counter(WORD.findall(text)), []
    spelled = {word: list(word.encode()) for word in words}
    while 256 + len(merges) < vocabulary:
        counts = Counter()
        for word, number in words.items():
            for pair in zip(spelled[word], spelled[word][1:]):
                counts[pair] += number
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        spelled = {
            word: merged(tokens, pair, 256 + len(merges)) for word, tokens in spelled.items()
        }
        merges.append(pair)
    return merges


def sample():
    return "\n\n".join(paragraphs()[:40])


def test_the_fast_way_learns_what_the_slow_way_learns():
    assert learn(sample(), 320).merges == learned_slowly(sample(), 320)


@pytest.mark.parametrize("text", STRANGE)
def test_round_trip(text):
    for tokenizer in (BytePairs(), learn(sample(), 300)):
        assert (
            tokenizer.decode(tokenizer.encode(text)) == text and "".join(WORD.findall(text)) == text
        )


def test_round_trip_of_the_whole_text():
    text, tokenizer = "\n\n".join(paragraphs()), learn(sample(), 400)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and tokens.dtype == torch.int64
    assert int(tokens.max()) < len(tokenizer) == 400 and len(tokens) < 0.6 * len(text)


def test_the_picture_of_the_module():
    tokenizer = BytePairs([(32, 116), (104, 101), (256, 257)])
    assert tokenizer.encode(" the theme").tolist() == [258, 258, 109, 101]
    assert tokenizer.pieces[256:] == [b" t", b"he", b" the"]


def test_without_merges_the_tokens_are_the_bytes():
    assert (
        learn("any text", 256).encode("é").tolist() == list("é".encode())
        and repr(BytePairs()) == "BytePairs(256 tokens)"
    )


def test_spelling_merges_in_the_order_of_learning():
    tokenizer = learn(sample(), 320)
    words, spelled = set(WORD.findall(sample())), {}
    for word in words:
        tokens = list(word.encode())
        for number, pair in enumerate(tokenizer.merges, start=256):
            tokens = merged(tokens, pair, number)
        spelled[word] = tokens
    assert all(tokenizer.spell(word) == spelled[word] for word in words)


def test_merged_goes_from_the_left():
    assert merged([1, 1, 1, 2], (1, 1), 9) == [9, 1, 2] and merged([], (1, 1), 9) == []


def test_half_a_character_is_shown_as_such():
    assert (
        BytePairs().decode([195]) == "\ufffd"
        and BytePairs().decode(torch.tensor([104, 105])) == "hi"
    )


def test_wrong_vocabularies_are_refused_in_words():
    with pytest.raises(ValueError, match="100 tokens are too few"):
        learn("abc", 100)
    with pytest.raises(ValueError, match="the text gives 258 tokens, not 300"):
        learn("abc", 300)
