"""Records `families.json`: published models with small random weights, their predictions, losses and gradients.

Weights and batches are functions of names and indices, which the test computes, too: see `number`. Run in an environment with
the packages of `requirements-families.txt`:

    python tests/reference/families.py            # writes families.json beside it
    python tests/reference/families.py --new NAME # adds the cases that it does not have, and records those that are named again
    python tests/reference/families.py --read DIR # loads what `fluxbay train` wrote, and prints missing and unexpected names
"""

import copy
import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import peft
import segmentation_models_pytorch as smp
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
    named = [part for key, value in named if value.dtype == torch.float32 and key in saved for part in parts(key, value, config)]
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
    # Rounding decides on which side of a ReLU's kink some arguments are, and batch normalisation and Adam amplify that: in some networks
    # until the losses in f32 are far from those in f64. The latter are recorded, for as many steps as they agree with those in f32 and
    # with those of weights that are changed as rounding would, since each processor rounds other sums.
    exact, others = None, []
    if any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        exact = Training(copy.deepcopy(model).double(), case)
        others = [Training(shaken(exact.model, number_of), case) for number_of in range(4)]
    training, losses, exact_losses, other_losses = Training(model, case), [], [], []
    for step in range(case.pop("steps", STEPS)):
        logits, loss = training.backward(step)
        if exact:
            exact_losses.append(float(exact.backward(step)[1].detach()))
            exact.optimizer.step()
            other_losses.append([float(other.backward(step)[1].detach()) for other in others])
            for other in others:
                other.optimizer.step()
        if step == 0:
            case["logits"] = [round(float(x), 7) for x in logits.detach().double().reshape(-1)[:64]]
            case["gradients"] = {
                key: measures(key, gradient)
                for whole, value in model.named_parameters()
                if value.grad is not None
                for key, gradient in parts(whole, value.grad, config)
            }
        losses.append(float(loss.detach()))
        training.optimizer.step()
    if exact:
        far = [step for step, loss in enumerate(exact_losses)
               if any(abs(other - loss) > 2e-6 * (1 + abs(loss)) for other in [losses[step], *other_losses[step]])]
        losses = exact_losses[:far[0]] if far else exact_losses
    case["losses"] = losses
    return case


def measures(path, gradient):
    """The norm of a gradient, and its product with a vector that belongs to the path."""
    gradient = gradient.double().reshape(-1)
    return [float(gradient.norm()), float((gradient * torch.tensor(number(path, gradient.numel()))).sum())]


def shaken(model, seed):
    """A copy whose weights differ by three roundings of f32."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.mul_(1 + 3 * 2**-24 * torch.tensor(number(f"{key}/{seed}", value.numel())).reshape(value.shape))
    return model


def parts(key, value, config):
    """Experts have one tensor together in memory, and one each in files."""
    if ".mlp.experts." not in key and not (config.get("model_type") == "mixtral" and ".mlp." in key):
        return [(key, value)]
    names = ["gate_proj", "up_proj", "down_proj"]
    if config["model_type"] == "mixtral":
        key, names = key.replace(".mlp.", ".block_sparse_moe."), ["w1", "w3", "w2"]
    if key.endswith(".gate.weight"):
        return [(key, value)]
    below, last = key.rsplit(".", 1)
    found = []
    for expert, weight in enumerate(value):
        split = [(names[2], weight)] if last == "down_proj" else list(zip(names, weight.chunk(2)))
        found += [(f"{below}.{expert}.{name}.weight", part) for name, part in split]
    return found


class Training:
    """A model and its optimizer."""

    def __init__(self, model, case):
        self.model, self.case = model, case
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)

    def backward(self, step):
        """Predictions and loss of a step, whose gradients are left in the parameters."""
        xs, ys = batch(self.case, step)
        dtype = next(self.model.parameters()).dtype
        logits = logits_of(self.model, self.case, xs.to(dtype) if xs.is_floating_point() else xs)
        if self.case["loss"] == "mse":
            loss = F.mse_loss(logits.reshape(ys.shape), ys.to(dtype))
        elif logits.ndim == 4:
            loss = F.cross_entropy(logits, ys)
        else:
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ys.reshape(-1))
        self.optimizer.zero_grad()
        loss.backward()
        return logits, loss


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


class Layers(torch.nn.Module):
    """The means of bags of embeddings beside a transposed convolution over embeddings."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.ModuleDict(dict(
            bag=torch.nn.EmbeddingBag(23, 5, mode="mean"), tokens=torch.nn.Embedding(23, 6),
            conv=torch.nn.ConvTranspose1d(6, 4, 3, stride=2, padding=1, groups=2), head=torch.nn.Linear(9, 4)))

    def forward(self, input_ids, attention_mask):
        grown = torch.nn.functional.silu(self.net["conv"](self.net["tokens"](input_ids).transpose(1, 2)))
        logits = self.net["head"](torch.cat([self.net["bag"](input_ids), grown.mean(2)], dim=1))
        return type("Output", (), {"logits": logits})


def unet(name, side, encoder, decoder, left_out=(), **case):
    """A U-Net over a small residual network: its kind, the channels of the first layer and of the stages, the blocks of each stage."""
    kind, first, widths, blocks = encoder
    block = {"basic": torchvision.models.resnet.BasicBlock, "bottleneck": torchvision.models.resnet.Bottleneck}[kind]

    class Small(smp.encoders.resnet.ResNetEncoder):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.conv1 = torch.nn.Conv2d(3, first, 7, 2, 3, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(first)

        def _make_layer(self, block, planes, blocks, **arguments):
            stage = [64, 128, 256, 512].index(planes)
            self.inplanes = first if stage == 0 else widths[stage - 1]
            return super()._make_layer(block, widths[stage] // block.expansion, blocks, **arguments)

    smp.encoders.encoders["small"] = {"encoder": Small, "pretrained_settings": {}, "params": dict(
        out_channels=[3, first, *widths], block=block, layers=blocks)}
    model = smp.Unet("small", encoder_depth=len(decoder), encoder_weights=None, decoder_channels=decoder, classes=case.get("classes") or 1)
    config = dict(_model_class="Unet", encoder_name="small", encoder_depth=len(decoder), decoder_channels=decoder, embedding_size=first,
                  layer_type=kind, hidden_sizes=widths, depths=blocks)
    return record(name, model, config, dict(component="unet", inputs=[3, side, side], targets=[side, side], settings={},
                                            left_out=list(left_out), **case))


def hugging_face(name, model, keep=(), written={}, **case):
    config = json.loads(model.config.to_json_string(use_diff=False))
    wanted = {key: value for key, value in config.items() if value is not None and not isinstance(value, dict) or key.startswith("rope")}
    for key in [key for key in wanted if key not in keep]:
        if key.startswith(("_", "torch", "transformers", "chunk", "output", "return", "is_", "bos", "eos", "sep", "cls")):
            del wanted[key]
    return record(name, model, {**wanted, **written}, case)


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
    wide = dict(hidden_size=24, num_attention_heads=6, num_key_value_heads=1, num_hidden_layers=1, intermediate_size=20)
    deep = dict(hidden_size=8, num_attention_heads=2, num_key_value_heads=2, num_hidden_layers=3)
    for family, always, plain, in_wide, in_deep in [
        ("Mistral", {}, dict(sliding_window=3), dict(sliding_window=None, head_dim=8), dict(sliding_window=2, tie_word_embeddings=True)),
        ("Qwen2", {}, {}, dict(use_sliding_window=True, sliding_window=3, max_window_layers=0), dict(
            use_sliding_window=True, sliding_window=2, max_window_layers=2, tie_word_embeddings=True)),
        ("Qwen3", {}, dict(head_dim=6), dict(head_dim=4, attention_bias=True), dict(head_dim=8, tie_word_embeddings=True)),
        ("Gemma", dict(pad_token_id=None), dict(head_dim=8), dict(head_dim=4, hidden_act="gelu"), dict(head_dim=6)),
    ]:
        config, model = getattr(t, f"{family}Config"), getattr(t, f"{family}ForCausalLM")
        for name, sizes, more in [("", {}, plain), ("-wide", wide, in_wide), ("-deep", deep, in_deep)]:
            # transformers takes the "gelu" of Gemma's published files for the tanh form.
            written = {"hidden_act": "gelu"} if more.get("hidden_act") == "gelu" else {}
            yield hugging_face(f"{family.lower()}{name}", model(config(**{**llama, **always, **sizes, **more})), written=written, **decoders)
    for family, always, in_wide, in_deep in [
        ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None), dict(num_local_experts=3),
         dict(num_local_experts=5, num_experts_per_tok=3, sliding_window=3)),
        ("Qwen3Moe", dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, norm_topk_prob=True, head_dim=6),
         dict(num_experts=3, norm_topk_prob=False), dict(num_experts=5, num_experts_per_tok=3, mlp_only_layers=[1])),
    ]:
        config, model = getattr(t, f"{family}Config"), getattr(t, f"{family}ForCausalLM")
        for name, sizes, more in [("", {}, {}), ("-wide", wide, in_wide), ("-deep", deep, in_deep)]:
            yield hugging_face(f"{family.lower()}{name}", model(config(**{**llama, **always, **sizes, **more})), **decoders)
    image = dict(classes=5, loss="cross-entropy")
    resnet = dict(embedding_size=8, hidden_sizes=[8, 16, 16, 24], depths=[1, 2, 1, 1], num_labels=5)
    for kind in ["basic", "bottleneck"]:
        yield hugging_face(f"resnet-{kind}", t.ResNetForImageClassification(t.ResNetConfig(layer_type=kind, **resnet)),
                           component="resnet", inputs=[3, 40, 40], settings={}, **image)
    deep = t.ResNetConfig(layer_type="basic", **{**resnet, "depths": [2, 2, 2, 2]})
    yield hugging_face("resnet-deep", t.ResNetForImageClassification(deep), component="resnet", inputs=[3, 40, 40], settings={}, **image)
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
    labels = dict(classes=3, loss="cross-entropy")
    yield unet("unet", 48, ("basic", 6, [6, 10, 12, 16], [1, 1, 1, 1]), [16, 12, 8, 8, 4], steps=5, **labels)
    yield unet("unet-shallow", 24, ("basic", 4, [8, 12, 16, 16], [2, 1, 1, 1]), [12, 8, 6], ["encoder.layer3.", "encoder.layer4."],
               classes=None, loss="mse", steps=12)
    yield unet("unet-bottleneck", 32, ("bottleneck", 5, [8, 12, 16, 20], [1, 2, 1, 1]), [14, 10, 8, 6], ["encoder.layer4."],
               classes=4, loss="cross-entropy", steps=12)
    whisper = dict(vocab_size=23, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, decoder_layers=1,
                   decoder_attention_heads=2, decoder_ffn_dim=24, num_mel_bins=6, max_source_positions=9, max_target_positions=8,
                   classifier_proj_size=10, num_labels=5, pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1)
    for name, more in [("", {}), ("-wide", dict(d_model=24, encoder_attention_heads=3, encoder_layers=1, activation_function="relu")),
                       ("-deep", dict(d_model=8, encoder_attention_heads=1, encoder_layers=3, num_mel_bins=4, max_source_positions=5))]:
        config = t.WhisperConfig(**{**whisper, **more})
        yield hugging_face(f"whisper{name}", t.WhisperForAudioClassification(config), component="whisper",
                           inputs=[config.num_mel_bins, 2 * config.max_source_positions], settings={}, **image)
    yield record("layers", Layers(), dict(width=5), dict(component="layers", settings={}, **text, classes=4))
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
    if sys.argv[1:2] == ["--new"]:
        again = sys.argv[2:]
        KNOWN.update((case["name"], case) for case in json.loads(out.read_text())["cases"] if case["name"] not in again)
    versions = {package.__name__: package.__version__ for package in [torch, torchvision, transformers, timm, peft, smp, np]}
    lines = [json.dumps(case) for case in cases()]
    names = json.dumps(published_names())
    out.write_text(f'{{\n"versions": {json.dumps(versions)},\n"names": {names},\n"cases": [\n' + ",\n".join(lines) + "\n]\n}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        model, info = getattr(transformers, sys.argv[3]).from_pretrained(sys.argv[2], output_loading_info=True)
        print({key: sorted(value) for key, value in info.items()})
    else:
        main()
