"""Writes the tokenizers and ids that the tests of plugins/text compare with, as Hugging Face's package gives them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/tokenizers_record.py > plugins/text/tests/tokenizers.json
"""

import json
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LENGTH = 12
TEXTS = [
    "",
    "The host loads a plugin.",
    "  Two spaces,\tand a tab\n\nthen a new paragraph.",
    "Caf\u00e9 na\u00efve \u4f60\u597d \U0001f600 \u00df \u0130stanbul",
    "unbelievably uncharacteristic words, 3.14159 and 2,000!",
    "A text that is much longer than the twelve tokens that a sample of this test may have at most.",
    "[CLS] is a token <s> and <|endoftext|> too",
]
PAIRS = [("A premise.", "A hypothesis."), ("short", "A second text that has to be cut, since the pair is too long for it.")]


def corpus():
    return [Path("README.md").read_text(), Path("docs/run-files.md").read_text()]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=250, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


def byte_fallback():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(
        vocab_size=520,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator([line for text in corpus() for line in text.split()], trainer)
    # The bytes are tokens of the model, not special ones that a text may contain.
    record = json.loads(tokenizer.to_str())
    record["added_tokens"] = [token for token in record["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(record))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokenizer.enable_padding(direction="left", pad_id=tokenizer.token_to_id("</s>"), pad_token="</s>")
    return tokenizer


def main():
    record = {"tokenizers": tokenizers.__version__, "length": LENGTH, "texts": TEXTS, "pairs": PAIRS, "cases": {}}
    for make in (byte_level, word_piece, unigram, byte_fallback):
        tokenizer = make()
        case = {"tokenizer": json.loads(tokenizer.to_str())}
        padding = tokenizer.padding or {"direction": "right", "pad_id": tokenizer.token_to_id("[PAD]") or tokenizer.token_to_id("<pad>") or 0}
        tokenizer.no_padding()
        case["whole"] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        tokenizer.enable_truncation(LENGTH)
        tokenizer.enable_padding(length=LENGTH, direction=padding["direction"], pad_id=padding["pad_id"])
        encoded = [tokenizer.encode(text) for text in TEXTS] + [tokenizer.encode(*pair) for pair in PAIRS]
        case["padding"] = padding["pad_id"]
        case["ids"] = [one.ids for one in encoded]
        case["types"] = [one.type_ids for one in encoded]
        case["lengths"] = [sum(one.attention_mask) for one in encoded]
        record["cases"][make.__name__] = case
    print(json.dumps(record, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
