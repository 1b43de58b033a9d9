"""Records `tasks.json`: the losses of the phases of tasks (causal-language, masked-language, contrastive, distillation,
preference) with small models of transformers, over a few steps of AdamW; of complete Whisper, also logits and gradients.

Weights and batches are those of `families.py`. Run in an environment with the packages of `requirements-families.txt`:

    python tests/reference/tasks.py               # writes tasks.json beside it
    python tests/reference/tasks.py --only PREFIX # records the cases again whose names begin so, and keeps the others
"""

import argparse
import json
import math
from pathlib import Path

import torch
import transformers
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from families import BATCH, measures, number, pooled, weights

STEPS = 5
TIME = 7
VOCABULARY = 23


def tokens(field, step, first=1):
    u = number(f"{field}/{step}", BATCH * TIME).reshape(BATCH, TIME)
    return torch.tensor(first + ((u + 1) / 2 * (VOCABULARY - first)).astype("int64"))


def gpt2(width):
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=width, n_layer=1, n_head=2, n_positions=12, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0))


def bert(kind, width, **more):
    return kind(transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=12, pad_token_id=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **more))


def known(xs):
    return (xs != 0).long()


def responses(xs, ys, after, until):
    counts = torch.zeros_like(ys, dtype=torch.bool)
    for row in range(BATCH):
        within = False
        for at in range(TIME):
            if xs[row, max(0, at + 1 - len(after)):at + 1].tolist() == after:
                within = True
            counts[row, at] = within
            if ys[row, at] == until:
                within = False
    return counts


def causal(counts_of):
    def loss(models, step):
        xs, ys = tokens("xs", step), tokens("ys", step)
        labels = ys.masked_fill(~counts_of(xs, ys, step), -100)
        return F.cross_entropy(models["model"](input_ids=xs).logits.reshape(-1, VOCABULARY), labels.reshape(-1))
    return loss


def masked(replaced):
    def loss(models, step):
        xs = tokens("xs", step)
        inputs = torch.full_like(xs, 3) if replaced else xs
        return models["model"](input_ids=inputs, attention_mask=known(inputs), labels=xs).loss
    return loss


def vectors(models, step):
    out = []
    for field in ["xs", "ys"]:
        ids = tokens(field, step)
        out.append(pooled(models["model"](input_ids=ids, attention_mask=known(ids)).last_hidden_state, known(ids)))
    return out


def clip(models, step):
    a, b = vectors(models, step)
    return image_text_contrastive_loss(a @ b.T / 0.1)


def simclr(models, step):
    z = torch.cat(vectors(models, step))
    similarities = (z @ z.T / 0.1).masked_fill(torch.eye(2 * BATCH, dtype=torch.bool), -math.inf)
    partners = torch.cat([torch.arange(BATCH, 2 * BATCH), torch.arange(BATCH)])
    return F.cross_entropy(similarities, partners)


def transcription(models, step):
    sounds = number(f"sounds/{step}", BATCH * 6 * 18).reshape(BATCH, 6, 18).astype("float32")
    ys = tokens("ys", step)
    before = torch.cat([torch.ones(BATCH, 1, dtype=torch.int64), ys[:, :-1]], dim=1)
    return models["model"](input_features=torch.tensor(sounds), decoder_input_ids=before, labels=ys.masked_fill(ys == 5, -100))


def distillation(models, step):
    xs = tokens("xs", step)
    ys = torch.tensor(((number(f"ys/{step}", BATCH) + 1) / 2 * 5).astype("int64"))
    student = models["student"](input_ids=xs, attention_mask=known(xs)).logits
    with torch.no_grad():
        teacher = models["teacher"](input_ids=xs, attention_mask=known(xs)).logits
    soft = F.kl_div((student / 3).log_softmax(-1), (teacher / 3).log_softmax(-1), reduction="batchmean", log_target=True) * 9
    return 0.7 * soft + 0.3 * F.cross_entropy(student, ys)


def preference(smoothing):
    def probability(model, ids):
        logs = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
        logs = logs.gather(2, ids[:, 1:, None])[..., 0]
        return (logs * (ids[:, 1:] != 5)).sum(1)

    def loss(models, step):
        chosen, rejected = tokens("xs", step), tokens("ys", step)
        with torch.no_grad():
            reference = probability(models["reference"], chosen) - probability(models["reference"], rejected)
        margin = 0.2 * (probability(models["policy"], chosen) - probability(models["policy"], rejected) - reference)
        return -((1 - smoothing) * F.logsigmoid(margin) + smoothing * F.logsigmoid(-margin)).mean()
    return loss


def config_of(model):
    config = json.loads(model.config.to_json_string(use_diff=False))
    prefixes = ("_", "torch", "transformers", "chunk", "output", "return", "is_", "bos", "eos", "sep", "cls", "id2", "label2")
    return {key: value for key, value in config.items()
            if value is not None and not isinstance(value, (dict, list)) and not key.startswith(prefixes)}


def record(name, phase, models, trained, loss, steps=STEPS):
    described = {}
    for key, (component, settings, model) in models.items():
        saved = model.state_dict()
        named = [(path, value) for path, value in [*model.named_parameters(), *model.named_buffers()]
                 if value.dtype == torch.float32 and path in saved]
        with torch.no_grad():
            for path, value in named:
                value.copy_(weights(path, list(value.shape)))
        model.train()
        described[key] = {"component": component, "settings": settings, "config": config_of(model),
                          "tensors": {path: list(value.shape) for path, value in named}}
    networks = {key: model for key, (_, _, model) in models.items()}
    optimizer = torch.optim.AdamW(networks[trained].parameters(), lr=1e-2, weight_decay=0.01)
    losses, more = [], {}
    for step in range(steps):
        out = loss(networks, step)
        value = out.loss if hasattr(out, "loss") else out
        optimizer.zero_grad()
        value.backward()
        if step == 0 and hasattr(out, "logits"):
            more["logits"] = [round(float(x), 7) for x in out.logits.detach().double().reshape(-1)]
            more["gradients"] = {path: measures(path, value.grad)
                                 for path, value in networks[trained].named_parameters() if value.grad is not None}
        optimizer.step()
        losses.append(float(value.detach()))
    return {"name": name, "phase": phase, "models": described, "losses": losses, **more}


def cases():
    torch.manual_seed(0)
    t = transformers
    language = lambda: {"model": ("gpt2", {}, gpt2(16))}
    marked = lambda xs, ys, step: torch.tensor((number(f"response/{step}", BATCH * TIME) > 0).reshape(BATCH, TIME))
    yield record("causal-mask", 'component = "causal-language"\nmask = "response"', language(), "model", causal(marked))
    yield record("causal-after", 'component = "causal-language"\nafter = [7]\nuntil = 9', language(), "model",
                 causal(lambda xs, ys, step: responses(xs, ys, [7], 9)))
    yield record("causal-padding", 'component = "causal-language"\npadding = 5', language(), "model",
                 causal(lambda xs, ys, step: ys != 5))
    for name, more in [("", {}), ("-wide", dict(d_model=24, decoder_layers=1, encoder_layers=1, decoder_attention_heads=3)),
                       ("-deep", dict(d_model=8, encoder_layers=1, decoder_layers=3, activation_function="relu"))]:
        sizes = dict(vocab_size=VOCABULARY, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, decoder_layers=2,
                     decoder_attention_heads=2, decoder_ffn_dim=20, num_mel_bins=6, max_source_positions=9, max_target_positions=8,
                     pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
        model = t.WhisperForConditionalGeneration(t.WhisperConfig(**{**sizes, **more}))
        yield record(f"transcription{name}", 'component = "causal-language"\nbegin = 1\npadding = 5',
                     {"model": ("whisper", {"head": "transcription"}, model)}, "model", transcription, steps=50)
    words = lambda: {"model": ("bert", {"head": "masked-language"}, bert(t.BertForMaskedLM, 16))}
    shares = "share = 1.0\nrandom = 0.0\nmask-token = 3"
    yield record("masked-kept", f'component = "masked-language"\nmasked = 0.0\n{shares}', words(), "model", masked(False))
    yield record("masked-replaced", f'component = "masked-language"\nmasked = 1.0\n{shares}', words(), "model", masked(True))
    pairs = lambda: {"model": ("bert", {"head": "embedding"}, bert(lambda c: t.BertModel(c, add_pooling_layer=False), 16))}
    yield record("contrastive-clip", 'component = "contrastive"\ntemperature = 0.1', pairs(), "model", clip)
    yield record("contrastive-simclr", 'component = "contrastive"\ntemperature = 0.1\ncomparison = "simclr"', pairs(), "model", simclr)
    two = {"student": ("bert", {}, bert(t.BertForSequenceClassification, 16, num_labels=5)),
           "teacher": ("bert", {}, bert(t.BertForSequenceClassification, 24, num_labels=5))}
    yield record("distillation", 'component = "distillation"\ntemperature = 3.0\nweight = 0.7', two, "student", distillation)
    for smoothing in [0.0, 0.1]:
        two = {"policy": ("gpt2", {}, gpt2(16)), "reference": ("gpt2", {}, gpt2(24))}
        yield record(f"preference-{smoothing}",
                     f'component = "preference"\nbeta = 0.2\npadding = 5\nlabel-smoothing = {smoothing}', two, "policy",
                     preference(smoothing))


def main():
    versions = {package.__name__: package.__version__ for package in [torch, transformers]}
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    out = Path(__file__).with_name("tasks.json")
    known = {case["name"]: case for case in json.loads(out.read_text())["cases"]} if only else {}
    lines = ",\n".join(json.dumps(case if case["name"].startswith(only) else known[case["name"]]) for case in cases())
    out.write_text(f'{{\n"versions": {json.dumps(versions)},\n"cases": [\n{lines}\n]\n}}\n')


if __name__ == "__main__":
    main()
