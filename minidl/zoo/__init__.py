"""What is there to train without a network? Small models and real data, alike on every rank.

    models.py   MLP, CNN, GPT, and initial weights that do not depend on who holds which part
    data.py     digits and English text, and a sampler that all ranks agree on without a message
    tokens.py   from text to numbers and back: byte pairs, learned from the text
    seeds.py    one generator a key, so that the order of the calls does not matter

Nothing here knows a comm: ranks agree because each computes the same from the same seed.
"""
