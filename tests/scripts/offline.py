"""Stands for what the scripts beside it would have on their disk: a tokenizer, and some sentences."""

import random

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

GOOD = "fine good great lovely warm bright funny moving honest clever".split()
BAD = "dull bad awful cold flat loud boring stale cheap clumsy".split()
THINGS = "film story plot cast ending music scene dialogue camera pace".split()
OTHERS = "the a this that is was and but very quite rather never always seems feels".split()
PEOPLE = "anna ben carla dario emma".split()
PLACES = "rome paris oslo lima cairo".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *GOOD, *BAD, *THINGS, *OTHERS, *PEOPLE, *PLACES]


def tokenizer(bos=False):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if not bos:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **({"bos_token": "[CLS]", "eos_token": "[SEP]"} if bos else {}),
    )


def sentences(count, seed=0):
    """`count` pairs of a sentence and whether it is friendly."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        label = draw.randint(0, 1)
        words = [draw.choice(OTHERS), draw.choice(THINGS), draw.choice(OTHERS)]
        words += [draw.choice(GOOD if label else BAD) for _ in range(draw.randint(1, 4))]
        words += [draw.choice(OTHERS + THINGS) for _ in range(draw.randint(0, 8))]
        found.append((" ".join(words), label))
    return found


def tagged(count, seed=0):
    """`count` lists of words with a tag each: 0 nothing, 1 a person, 2 a place."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [draw.choice(OTHERS + THINGS + PEOPLE + PLACES) for _ in range(draw.randint(4, 12))]
        found.append((words, [1 if word in PEOPLE else 2 if word in PLACES else 0 for word in words]))
    return found
