"""Records `families.json`: published models with small random weights, their predictions, losses and gradients.

Weights and batches are functions of names and indices, which the test computes, too: see `number`. Run in an environment with
the packages of `requirements-families.txt`:

    python tests/reference/families.py            # writes families.json beside it
    python tests/reference/families.py --new      # adds the cases that it does not have
    python tests/reference/families.py --read DIR # loads what `fluxbay train` wrote, and prints missing and unexpected names
"""

import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import peft
import timm
import torch
import torchvision
import transformers
from torch.nn import functional as F

STEPS = 50
KNOWN = {}  # recorded before, by name
BATCH = 4


def number(name, count):
    """`count` numbers in [-1, 1) that belong to a name."""
    phase = (zlib.crc32(name.encode()) % 1000) / 10
    x = np.sin(np.arange(count, dtype=np.float64) * 12.9898 + phase) * 43758.5453
    return 2 * (x - np.floor(x)) - 1


def weights(name, shape):
    """The initial weights of a tensor of a file."""
    x = number(name, math.prod(shape)).reshape(shape)
    if name.endswith("running_var"):
        x = 1 + 0.5 * x
    elif len(shape) >= 2:
        x = x * 1.5 / math.sqrt(math.prod(shape[1:]))
    elif name.endswith(("weight", "gamma", "magnitude_vector")):
        x = 1 + 0.3 * x
    else:
        x = 0.3 * x
    return torch.tensor(x.astype(np.float32))


def batch(case, step):
    shape = [BATCH, *case["inputs"]]
    u = number(f"xs/{step}", math.prod(shape)).reshape(shape)
    if "vocabulary" in case:
        # Tokens behind that of the padding, which is at the end of the second sequence.
        first = case.get("padding", -1) + 1
        xs = torch.tensor(first + np.floor((u + 1) / 2 * (case["vocabulary"] - first)).astype(np.int64))
        # Losses of single tokens are of texts without padding, whose embedding PyTorch does not train.
        if "padding" in case and case.get("targets") != case["inputs"]:
            xs[1, -2:] = case["padding"]
    else:
        xs = torch.tensor(u.astype(np.float32))
    shape = [BATCH, *case.get("targets", [])]
    u = number(f"ys/{step}", math.prod(shape)).reshape(shape)
    if case["loss"] == "mse":
        return xs, torch.tensor(u.astype(np.float32))
    return xs, torch.tensor(np.floor((u + 1) / 2 * case["classes"]).astype(np.int64))


def logits_of(model, case, xs):
    if "vocabulary" in case:
        mask = (xs != case["padding"]).long() if "padding" in case else None
        out = model(input_ids=xs, attention_mask=mask)
        if hasattr(out, "text_embeds"):
            return out.text_embeds
        return out.logits if hasattr(out, "logits") else pooled(out.last_hidden_state, mask)
    out = model(xs)
    if hasattr(out, "image_embeds"):
        return out.image_embeds
    return out.logits if hasattr(out, "logits") else out


def pooled(hidden, mask):
    """As sentence-transformers: the mean over tokens, of length 1."""
    mask = mask[..., None].to(hidden.dtype)
    return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def record(name, model, config, case):
    if name in KNOWN:
        return KNOWN[name]
    case = {"name": name, **case, "config": config}
    # Without tensors that are tied to others, or derived from the sizes.
    named = [*model.named_parameters(), *model.named_buffers()]
    saved = model.state_dict()
    named = [(key, value) for key, value in named if value.dtype == torch.float32 and key in saved]
    case["tensors"] = {key: list(value.shape) for key, value in named}
    with torch.no_grad():
        for key, value in named:
            value.copy_(weights(key, list(value.shape)))
    if "lora" in case:
        model = peft.get_peft_model(model, peft.LoraConfig(**case["lora"]))
        saved = peft.get_peft_model_state_dict(model)
        with torch.no_grad():
            for key, value in saved.items():
                value.copy_(weights(key, list(value.shape)))
        peft.set_peft_model_state_dict(model, saved)
        case["adapter"] = {key: list(value.shape) for key, value in saved.items()}
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)
    losses = []
    for step in range(STEPS):
        xs, ys = batch(case, step)
        logits = logits_of(model, case, xs)
        if case["loss"] == "mse":
            loss = F.mse_loss(logits, ys)
        else:
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ys.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            case["logits"] = [round(float(x), 7) for x in logits.detach().double().reshape(-1)[:64]]
            case["gradients"] = {
                key: [float(parameter.grad.double().norm()),
                      float((parameter.grad.double().reshape(-1) * torch.tensor(number(key, parameter.numel()))).sum())]
                for key, parameter in model.named_parameters()
                if parameter.grad is not None
            }
        losses.append(float(loss.detach()))
        optimizer.step()
    case["losses"] = losses
    return case


class Recurrent(torch.nn.Module):
    """An LSTM, and a GRU that reads its states from their end."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.ModuleDict(dict(
            lstm=torch.nn.LSTM(3, 5, batch_first=True), gru=torch.nn.GRU(5, 5, batch_first=True), head=torch.nn.Linear(5, 4)))

    def forward(self, xs):
        states, (last, _) = self.net["lstm"](xs)
        _, first = self.net["gru"](states.flip(1), last)
        return self.net["head"](first[0])


def hugging_face(name, model, keep=(), **case):
    config = json.loads(model.config.to_json_string(use_diff=False))
    wanted = {key: value for key, value in config.items() if value is not None and not isinstance(value, dict) or key.startswith("rope")}
    for key in [key for key in wanted if key not in keep]:
        if key.startswith(("_", "torch", "transformers", "chunk", "output", "return", "is_", "bos", "eos", "sep", "cls")):
            del wanted[key]
    return record(name, model, wanted, case)


def cases():
    t = transformers
    torch.manual_seed(0)
    text = dict(inputs=[7], vocabulary=23, loss="cross-entropy")
    bert = dict(vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                max_position_embeddings=12, pad_token_id=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    small = dict(component="bert", padding=0, classes=5, **text)
    yield hugging_face("bert", t.BertForSequenceClassification(t.BertConfig(num_labels=5, **bert)), settings={}, **small)
    yield hugging_face("bert-lora", t.BertForSequenceClassification(t.BertConfig(num_labels=5, **bert)), settings={}, **small,
                       lora=dict(r=2, lora_alpha=4, target_modules=["query", "value"], modules_to_save=["classifier"]))
    yield hugging_face("bert-dora", t.BertForSequenceClassification(t.BertConfig(num_labels=5, **bert)), settings={}, **small,
                       lora=dict(r=2, lora_alpha=4, target_modules=["query", "value"], modules_to_save=["classifier"], use_dora=True))
    other = {**bert, "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1, "intermediate_size": 20}
    yield hugging_face("bert-wide", t.BertForSequenceClassification(t.BertConfig(num_labels=5, hidden_act="relu", **other)),
                       settings={}, **small)
    other = {**bert, "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 3, "type_vocab_size": 3}
    yield hugging_face("bert-deep", t.BertForSequenceClassification(t.BertConfig(num_labels=5, hidden_act="gelu_new", **other)),
                       settings={}, **small)
    yield hugging_face("bert-tokens", t.BertForTokenClassification(t.BertConfig(num_labels=5, **bert)),
                       settings={"head": "tokens"}, **{**small, "targets": [7]})
    yield hugging_face("bert-masked", t.BertForMaskedLM(t.BertConfig(hidden_act="relu", **bert)),
                       settings={"head": "masked-language"}, **{**small, "targets": [7], "classes": 23})
    yield hugging_face("bert-embedding", t.BertModel(t.BertConfig(**bert), add_pooling_layer=False),
                       settings={"head": "embedding"}, **{**small, "loss": "mse", "targets": [16], "classes": None})
    roberta = {**bert, "pad_token_id": 1, "max_position_embeddings": 14, "type_vocab_size": 1}
    yield hugging_face("roberta", t.RobertaForSequenceClassification(t.RobertaConfig(num_labels=5, **roberta)),
                       settings={}, **{**small, "padding": 1})
    yield hugging_face("roberta-masked", t.RobertaForMaskedLM(t.RobertaConfig(**roberta)),
                       settings={"head": "masked-language"}, **{**small, "padding": 1, "targets": [7], "classes": 23})
    for name, more in [("roberta-wide", dict(hidden_size=24, num_attention_heads=4, num_hidden_layers=1)),
                       ("roberta-deep", dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=3))]:
        yield hugging_face(name, t.RobertaForSequenceClassification(t.RobertaConfig(num_labels=5, **{**roberta, **more})),
                           settings={}, **{**small, "padding": 1})
    distil = dict(vocab_size=23, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=12, pad_token_id=0,
                  dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
    yield hugging_face("distilbert", t.DistilBertForSequenceClassification(t.DistilBertConfig(num_labels=5, **distil)),
                       settings={}, **small)
    yield hugging_face("distilbert-masked", t.DistilBertForMaskedLM(t.DistilBertConfig(**distil)),
                       settings={"head": "masked-language"}, **{**small, "targets": [7], "classes": 23})
    for name, more in [("distilbert-wide", dict(dim=24, n_heads=3, n_layers=1)), ("distilbert-deep", dict(dim=8, n_heads=1, n_layers=3))]:
        yield hugging_face(name, t.DistilBertForSequenceClassification(t.DistilBertConfig(num_labels=5, **{**distil, **more})),
                           settings={}, **small)
    modern = dict(vocab_size=23, hidden_size=16, intermediate_size=20, num_hidden_layers=4, num_attention_heads=2, pad_token_id=0,
                  local_attention=4, max_position_embeddings=32)
    modern_small = {**small, "component": "modern-bert"}
    yield hugging_face("modern-bert", t.ModernBertForSequenceClassification(t.ModernBertConfig(num_labels=5, **modern)), settings={},
                       **modern_small)
    yield hugging_face("modern-bert-mean", t.ModernBertForSequenceClassification(t.ModernBertConfig(
        num_labels=5, classifier_pooling="mean", attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True,
        global_attn_every_n_layers=2, **{**modern, "num_attention_heads": 4, "num_hidden_layers": 2})), settings={}, **modern_small)
    yield hugging_face("modern-bert-masked", t.ModernBertForMaskedLM(t.ModernBertConfig(**{**modern, "hidden_size": 24, "num_hidden_layers": 2})),
                       settings={"head": "masked-language"}, **{**modern_small, "targets": [7], "classes": 23})
    causal = dict(targets=[7], classes=23, settings={}, **text)
    gpt2 = dict(vocab_size=23, n_embd=16, n_layer=2, n_head=2, n_positions=12, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    yield hugging_face("gpt2", t.GPT2LMHeadModel(t.GPT2Config(**gpt2)), component="gpt2", **causal)
    for name, more in [("gpt2-wide", dict(n_embd=24, n_head=3, n_layer=1, n_inner=20)),
                       ("gpt2-deep", dict(n_embd=8, n_head=1, n_layer=3, activation_function="relu"))]:
        yield hugging_face(name, t.GPT2LMHeadModel(t.GPT2Config(**{**gpt2, **more})), component="gpt2", **causal)
    llama = dict(vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=64)
    decoders = dict(component="llama", **causal)
    yield hugging_face("llama", t.LlamaForCausalLM(t.LlamaConfig(**llama)), **decoders)
    yield hugging_face("llama-scaled", t.LlamaForCausalLM(t.LlamaConfig(
        tie_word_embeddings=True, attention_bias=True,
        rope_parameters=dict(rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=16), **llama)), **decoders)
    for name, more in [("llama-wide", dict(hidden_size=24, num_attention_heads=6, num_key_value_heads=1, num_hidden_layers=1)),
                       ("llama-deep", dict(hidden_size=8, num_attention_heads=2, num_key_value_heads=2, num_hidden_layers=3,
                                           tie_word_embeddings=True))]:
        yield hugging_face(name, t.LlamaForCausalLM(t.LlamaConfig(**{**llama, **more})), **decoders)
    yield hugging_face("mistral", t.MistralForCausalLM(t.MistralConfig(sliding_window=3, **llama)), **decoders)
    yield hugging_face("qwen2", t.Qwen2ForCausalLM(t.Qwen2Config(**llama)), **decoders)
    yield hugging_face("qwen3", t.Qwen3ForCausalLM(t.Qwen3Config(head_dim=6, **llama)), **decoders)
    yield hugging_face("gemma", t.GemmaForCausalLM(t.GemmaConfig(head_dim=8, pad_token_id=None, **llama)), **decoders)
    image = dict(classes=5, loss="cross-entropy")
    resnet = dict(embedding_size=8, hidden_sizes=[8, 16, 16, 24], depths=[1, 2, 1, 1], num_labels=5)
    for kind in ["basic", "bottleneck"]:
        yield hugging_face(f"resnet-{kind}", t.ResNetForImageClassification(t.ResNetConfig(layer_type=kind, **resnet)),
                           component="resnet", inputs=[3, 40, 40], settings={}, **image)
    narrow = dict(embedding_size=4, hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1], num_labels=5)
    yield hugging_face("resnet-narrow", t.ResNetForImageClassification(t.ResNetConfig(layer_type="basic", **narrow)), component="resnet",
                       inputs=[3, 33, 33], settings={}, **image)
    vit = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=12, patch_size=4,
               hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=5)
    yield hugging_face("vit-transformers", t.ViTForImageClassification(t.ViTConfig(**vit)), component="vit", inputs=[3, 12, 12],
                       settings={}, **image)
    more = dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, image_size=8, patch_size=2)
    yield hugging_face("vit-wide", t.ViTForImageClassification(t.ViTConfig(**{**vit, **more})), component="vit", inputs=[3, 8, 8],
                       settings={}, **image)
    args = dict(img_size=12, patch_size=4, embed_dim=16, depth=2, num_heads=2)
    yield record("vit", timm.models.VisionTransformer(num_classes=5, **args), dict(architecture="vit_tiny_patch4_12", model_args=args),
                 dict(component="vit", inputs=[3, 12, 12], settings={}, **image))
    for name, more in [("convnext-narrow", dict(patch_size=2, depths=[1, 1, 1, 1], dims=[4, 8, 12, 16])),
                       ("convnext-deep", dict(patch_size=2, depths=[2, 1, 1, 2], dims=[8, 8, 16, 24]))]:
        yield record(name, timm.models.ConvNeXt(num_classes=5, in_chans=3, **more),
                     dict(architecture="convnext_small", model_args=more),
                     dict(component="convnext", inputs=[3, 32, 32], settings={}, **image))
    args = dict(patch_size=2, depths=[1, 1, 2, 1], dims=[8, 12, 16, 20])
    yield record("convnext", timm.models.ConvNeXt(num_classes=5, in_chans=3, **args),
                 dict(architecture="convnext_small", model_args=args),
                 dict(component="convnext", inputs=[3, 32, 32], settings={}, **image))
    for name, text_more, image_more in [("", {}, {}),
                                        ("-wide", dict(hidden_size=24, num_attention_heads=3, hidden_act="gelu", num_hidden_layers=1),
                                         dict(hidden_size=24, num_attention_heads=3, hidden_act="gelu", num_hidden_layers=1)),
                                        ("-deep", dict(num_hidden_layers=3, eos_token_id=2), dict(num_hidden_layers=3, patch_size=2))]:
        clip = dict(hidden_size=16, intermediate_size=24, projection_dim=12, num_hidden_layers=2, num_attention_heads=2)
        vectors = dict(component="clip", targets=[12], classes=None, loss="mse")
        yield hugging_face(f"clip-text{name}", t.CLIPTextModelWithProjection(t.CLIPTextConfig(
            vocab_size=23, max_position_embeddings=9, **{"eos_token_id": 22, **clip, **text_more})), keep=["eos_token_id"],
            inputs=[7], vocabulary=23, settings={"tower": "text"}, **vectors)
        yield hugging_face(f"clip-image{name}", t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(
            image_size=8, **{"patch_size": 4, **clip, **image_more})), inputs=[3, 8, 8], settings={"tower": "image"}, **vectors)
    yield record("recurrent", Recurrent(), dict(width=5),
                 dict(component="recurrent", inputs=[6, 3], settings={}, classes=4, loss="cross-entropy"))


def published_names():
    """Names and shapes of published sizes."""
    return {f"resnet{depth}": {key: list(value.shape) for key, value in
                               getattr(torchvision.models, f"resnet{depth}")(num_classes=5).state_dict().items()
                               if not key.endswith("num_batches_tracked")}
            for depth in [18, 50]}


def main():
    out = Path(__file__).with_name("families.json")
    if sys.argv[1:] == ["--new"]:
        KNOWN.update((case["name"], case) for case in json.loads(out.read_text())["cases"])
    versions = {package.__name__: package.__version__ for package in [torch, torchvision, transformers, timm, peft, np]}
    lines = [json.dumps(case) for case in cases()]
    names = json.dumps(published_names())
    out.write_text(f'{{\n"versions": {json.dumps(versions)},\n"names": {names},\n"cases": [\n' + ",\n".join(lines) + "\n]\n}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        model, info = getattr(transformers, sys.argv[3]).from_pretrained(sys.argv[2], output_loading_info=True)
        print({key: sorted(value) for key, value in info.items()})
    else:
        main()
