"""Encodes 10 MB of text with tokenizers of four kinds, for a test of plugins/text that compares all ids.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/tokenizers_large.py /tmp/ids
    FLUXBAY_TEST_IDS=/tmp/ids cargo test --release -p fluxbay-text ids_of_a_large_text -- --nocapture

The folder gets the text, and for each kind its `KIND.json` and its ids, `KIND.ids`: for each line the number of ids and the ids, as
little-endian 32-bit numbers. Printed are a hash of each file of ids, and the versions.
"""

import hashlib
import platform
import random
import struct
import sys
from pathlib import Path

import tokenizers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

SIZE = 10_000_000
# First and last letters of alphabets, and how often a word is of each.
ALPHABETS = [("a", "z", 60), ("A", "Z", 5), ("à", "ö", 8), ("а", "я", 8), ("α", "ω", 4), ("一", "鿿", 6), ("ぁ", "ん", 4), ("ا", "ي", 4), ("अ", "ह", 2)]
BETWEEN = [" "] * 60 + ["  ", "   ", "\t", "\u00a0", "\u3000", ", ", ". ", "; ", "...", " - ", "—", "'s ", "'re ", "'LL ", "n't ", "'", '"', "(", ") ", "/", "_", "#"]
RARE = ["3.14159", "2,000", "1984", "²", "ⅷ", "١٢٣", "😀", "👩‍💻", "e\u0301", "ß", "İ", "ǆ", "\u200b", "\ufeff", "<|endoftext|>", "[MASK]", "http://x.org/?a=b&c", "C++", "\r"]


def text():
    draw = random.Random(11)
    weights = [share for _, _, share in ALPHABETS]
    vocabulary = []
    for first, last, _ in draw.choices(ALPHABETS, weights, k=30_000):
        letters = [chr(letter) for letter in range(ord(first), ord(last) + 1)]
        vocabulary.append("".join(draw.choices(letters, k=draw.randint(1, 10))))
    # Frequencies as in natural text.
    ranks = [1 / (rank + 5) for rank in range(len(vocabulary))]
    lines, size = [], 0
    while size < SIZE:
        words = draw.choices(vocabulary, ranks, k=draw.randint(1, 60))
        line = "".join(word + (draw.choice(BETWEEN) if draw.random() < 0.98 else draw.choice(RARE)) for word in words)
        line = line.replace("\n", " ").strip(" ") if draw.random() < 0.5 else line
        lines.append(line)
        size += len(line.encode()) + 1
    return lines


def byte_level():
    """As GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer, trainers.BpeTrainer(vocab_size=16_000, special_tokens=["<|endoftext|>"], show_progress=False)


def split_byte_level():
    """As Llama 3: another pattern before the bytes."""
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer, trainers.BpeTrainer(vocab_size=16_000, special_tokens=["<|endoftext|>"], show_progress=False)


def word_piece():
    """As BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return tokenizer, trainers.WordPieceTrainer(vocab_size=16_000, special_tokens=special, show_progress=False)


def unigram():
    """As XLM-RoBERTa and T5."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, trainers.UnigramTrainer(vocab_size=8_000, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lines = text()
    (folder / "text.txt").write_bytes("\n".join(lines).encode())
    for kind in (byte_level, split_byte_level, word_piece, unigram):
        tokenizer, trainer = kind()
        tokenizer.train_from_iterator(lines[: len(lines) // 10], trainer)
        tokenizer.save(str(folder / f"{kind.__name__}.json"))
        encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
        numbers = b"".join(struct.pack(f"<{len(one.ids) + 1}I", len(one.ids), *one.ids) for one in encoded)
        (folder / f"{kind.__name__}.ids").write_bytes(numbers)
        count = len(numbers) // 4 - len(lines)
        print(f"{kind.__name__:18} {count} ids  sha256 {hashlib.sha256(numbers).hexdigest()[:16]}", flush=True)
    print(f"tokenizers {tokenizers.__version__}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
