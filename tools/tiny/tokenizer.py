"""The vocabulary: a byte-level BPE made for copying.

Two things set its training apart. Digits never merge, so a number is its digits. And what stands before a word (a space, a quote, an
underscore) is merged last, and only with whole words: a word is cut the same way after a space, a quote or a bracket, so that to copy a name
into JSON is to copy its tokens.

    python3 tools/tiny/tokenizer.py "some text"     # shows the tokens
"""
import collections
import random
import sys

import regex
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

import chat
import prose
from words import Fillers

# (text, is a control token); the control tokens are never printed.
SPECIALS = [("<|begin_of_text|>", True), ("<|end_of_text|>", True), ("<think>", False), ("</think>", False), ("<|im_start|>", True),
            ("<|im_end|>", True), ("<tool_response>", False), ("</tool_response>", False), ("<tool_call>", False), ("</tool_call>", False),
            ("<code>", False), ("</code>", False)]
# What `tokenizer.ggml.pre = smaug-bpe` stands for.
PRE_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PREFIXED = regex.compile(r"([^\r\n\p{L}\p{N}])(\p{L}+)|( )([^\s\p{L}\p{N}]+[\r\n]*)")
SHARE_OF_PREFIXES = 0.22  # of the merges
INVENTING = 0.85  # share of invented names in the text that merges are learnt from


def byte_letters():
    """GPT-2's alphabet: a printable character for every byte."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = (b for b in range(256) if b not in printable)
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


LETTERS = byte_letters()


def letters(text):
    return "".join(LETTERS[b] for b in text.encode())


def merge(word, pair):
    merged, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def train_merges(counts, n):
    """The `n` merges of plain BPE over words with their counts; ties go to the first in the alphabet."""
    words = [[tuple(word), count] for word, count in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (word, count) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += count
            where[pair].add(i)
    merges = []
    while len(merges) < n:
        pair = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(pair)
        for i in sorted(where.pop(pair)):
            word, count = words[i]
            for old in zip(word, word[1:]):
                pairs[old] -= count
            word = words[i][0] = merge(word, pair)
            for new in zip(word, word[1:]):
                pairs[new] += count
                where[new].add(i)
        del pairs[pair]
    return merges


def build(vocabulary, merges):
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PRE_REGEX), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text, _ in SPECIALS])
    return tokenizer


def train(texts, n_vocab):
    bare, prefixed = collections.Counter(), collections.Counter()
    specials = regex.compile("|".join(regex.escape(text) for text, _ in SPECIALS))
    for text in texts:
        for part in specials.split(text):
            for word in regex.findall(PRE_REGEX, part):
                if match := PREFIXED.fullmatch(word):
                    prefix, rest = match.group(1) or match.group(3), match.group(2) or match.group(4)
                    prefixed[letters(prefix), letters(rest)] += 1
                    word = rest
                if not word[0].isnumeric():
                    bare[letters(word)] += 1
    n_merges = n_vocab - 256 - len(SPECIALS)
    merges = train_merges(bare, n_merges - int(n_merges * SHARE_OF_PREFIXES))
    whole = {a + b for a, b in merges} | set(LETTERS.values())
    common = sorted((pair for pair in prefixed if pair[1] in whole and prefixed[pair] > 1), key=lambda pair: (-prefixed[pair], pair))
    merges += [pair for pair in common if pair[0] + pair[1] not in whole][:n_merges - len(merges)]
    vocabulary = {text: i for i, (text, _) in enumerate(SPECIALS)}
    for token in sorted(LETTERS.values()) + [a + b for a, b in merges]:
        vocabulary.setdefault(token, len(vocabulary))
    if len(vocabulary) != n_vocab:
        raise ValueError(f"a vocabulary of {len(vocabulary)} came out, not of {n_vocab}: too little text, or two merges to one token")
    return build(vocabulary, merges)


def sample(seed, n):
    """The text to train on: chats of all skills, and all kinds of prose.

    Most names in it are invented: those of the lists are to be cut into pieces, as unseen ones will be.
    """
    kinds = [prose.tale, prose.scene, prose.tongues, prose.knowledge, prose.objects, prose.code]
    for i in range(n):
        rng = random.Random(f"tokenizer/{seed}/{i}")
        if i % 2:
            yield "".join(rng.choice(kinds)(rng, Fillers(rng, False, INVENTING)))
        else:
            yield chat.render(*chat.conversation(f"tokenizer/{seed}/{i}", 1500, inventing=INVENTING))


if __name__ == "__main__":
    tokenizer = train(sample(1, 20000), 2560)
    for text in sys.argv[1:]:
        print(tokenizer.encode(text).tokens)
