"""One side of `cargo xtask bench --peer torch`: times one piece of work in PyTorch and prints it as one JSON line.

    python step.py tiny|60m BATCH SEQ STEPS METHOD

METHOD is `adamw` (dense), `one` (only one MLP matrix is trained), `only:NAME,NAME` (only these tensors are), `lora:R`,
`galore:R`, or a part of a step: `attention`, `loss`, `optimizer`, `optimizer:fused`, `selection`. Our side of it is
`benches/peer/main.rs`; the optimizers' settings and what each method trains are the same on both sides.
"""

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import parts
from measured import Stopwatch, print_line, repeat, resident_bytes, threads

# Vocabulary, hidden size, intermediate size, layers, heads.
MODELS = {"tiny": (2048, 256, 688, 4, 4), "60m": (32000, 512, 1376, 8, 8)}
# The matrices of attention and MLP: those that LoRA adapts and GaLore projects.
MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ONE = "model.layers.1.mlp.down_proj.weight"
LEARNING_RATE = 1e-3


class Work:
    """A model's sizes and the tokens that it sees at every step."""

    def __init__(self, name, batch, seq):
        if name not in MODELS:
            sys.exit(f"'{name}' is neither of {', '.join(MODELS)}")
        self.vocab, self.hidden, self.intermediate, self.layers, self.heads = MODELS[name]
        self.batch, self.seq = batch, seq

    def model(self):
        """The model in f32 with random weights."""
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=self.vocab,
                hidden_size=self.hidden,
                intermediate_size=self.intermediate,
                num_hidden_layers=self.layers,
                num_attention_heads=self.heads,
                max_position_embeddings=1024,
                tie_word_embeddings=False,
                rms_norm_eps=1e-6,
                # Keys and values are for generation; keeping them would be work that our side does not do.
                use_cache=False,
            )
        ).float()

    def tokens(self):
        """The same tokens as on our side."""
        i = torch.arange(self.batch * self.seq)
        return ((i * 7919 + i * i * 31) % self.vocab).view(self.batch, self.seq)


def with_only(model, names):
    """Lets only the parameters of these names be trained."""
    known = dict(model.named_parameters())
    missing = [name for name in names if name not in known]
    if missing:
        sys.exit(f"the model has no {', '.join(missing)}")
    for name, parameter in known.items():
        parameter.requires_grad_(name in names)
    return model


def with_lora(model, rank):
    """Adapters on every matrix of attention and MLP; what is not adapted is trained as well."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=32, lora_dropout=0.0, bias="none", target_modules=MATRICES)
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if ".base_layer." not in name:
            parameter.requires_grad_(True)
    return model


def adamw(model):
    """Dense AdamW on what is trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)


def galore(model, rank):
    """GaLore's AdamW: the matrices' gradients projected, with one projection, at the first step."""
    from galore_torch import GaLoreAdamW

    named = list(model.named_parameters())
    is_projected = [any(f".{matrix}." in name for matrix in MATRICES) for name, _ in named]
    projected = dict(rank=rank, update_proj_gap=10**9, scale=0.25, proj_type="std")
    groups = [
        dict(params=[p for (_, p), yes in zip(named, is_projected) if not yes]),
        dict(params=[p for (_, p), yes in zip(named, is_projected) if yes], **projected),
    ]
    return GaLoreAdamW(groups, lr=LEARNING_RATE, weight_decay=0.0, no_deprecation_warning=True)


def prepared(work, method):
    """The model as the method trains it, and its optimizer."""
    name, _, setting = method.partition(":")
    model = work.model()
    if name == "galore":
        return model, galore(model, int(setting))
    if name == "lora":
        model = with_lora(model, int(setting))
    elif name in ("one", "only"):
        model = with_only(model, [ONE] if name == "one" else setting.split(","))
    elif name != "adamw":
        sys.exit(f"unknown method '{method}'")
    return model, adamw(model)


def train(work, method, steps):
    """Training steps with gradients clipped at 1; the first, with its state's allocation or projection, is not timed."""
    before = resident_bytes()
    model, optimizer = prepared(work, method)
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = 4 * sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)
    ids = work.tokens()

    def repetition():
        watch = Stopwatch()
        loss = model(input_ids=ids, labels=ids).loss
        watch.lap("forward")
        loss.backward()
        watch.lap("backward")
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        watch.lap("optimizer")
        loss.item()
        return watch.finish()

    return repeat(repetition, steps, before, weights)


def measure(work, method, steps):
    """The fields of the JSON line for a training method or a part of a step."""
    if method == "attention":
        return parts.attention(work, steps)
    if method == "loss":
        return parts.loss(work, steps)
    if method in ("optimizer", "optimizer:fused"):
        return parts.optimizer(work, steps, fused=method.endswith(":fused"))
    if method == "selection":
        return parts.selection(work, steps)
    return train(work, method, steps)


def main():
    if len(sys.argv) != 6:
        sys.exit("usage: step.py tiny|60m BATCH SEQ STEPS METHOD")
    name, method = sys.argv[1], sys.argv[5]
    batch, seq, steps = map(int, sys.argv[2:5])
    torch.manual_seed(0)
    torch.set_num_threads(threads())
    print_line(name, method, measure(Work(name, batch, seq), method, steps))


if __name__ == "__main__":
    main()
