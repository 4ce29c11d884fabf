"""Fine-tuning of a BERT folder on GLUE as transformers and PyTorch do it: the numbers that our trainer is held to.

    python glue_reference.py --task mrpc --model MODEL --data GLUE --save-initial DIR [--save-head FILE]
    python glue_reference.py --task mrpc --model MODEL --data GLUE --parity-steps 100 --out mrpc_losses.json
    python glue_reference.py --task mrpc --model MODEL --data GLUE --finetune --out FILE
    python glue_reference.py --summarize FILE... --out results.json

`glue_both_sides.py` runs it beside our own runner.

MODEL is a Hugging Face folder without a head (MiniLM: all-MiniLM-L6-v2), GLUE the folder of the TSV folders MRPC, STS-B
and CoLA. All start from the same weights, whatever is asked for: the head is drawn from `--seed`.

`--save-initial` writes that model (`config.json`, `model.safetensors` with the head, the tokenizer's files unchanged);
`--save-head` its two head tensors alone, small enough to commit. MiniLM's `tokenizer.json` asks for padding to 128:
a reader has to replace that by padding to the longest of the batch, as is done here.

`--parity-steps N`: N steps without dropout over the training rows in the order of the file, 16 a batch, padded to the
longest of the batch. `losses[s]` is the mean loss of step s before its update, `tokens[s]` counts the unpadded tokens of
its batch and `lengths[s]` is its padded width, by which a wrong batch is told from a wrong gradient.

`--finetune`: all epochs, with the configuration's dropout or that of `--dropout`. Every epoch draws a new order: shuffle,
sort by length in windows of 50 batches, cut into batches, shuffle the batches. No row is dropped: the last window ends
in a short batch. With `--keep-order` every epoch has the order of the file. With `--lora R` PEFT's adapters of rank R and
the head are trained in place of all weights.

Both: AdamW(betas 0.9 and 0.999, eps 1e-8, no weight decay), no clipping, and a rate that falls linearly: step s of S
is made at `lr * (1 - s / S)`, where S counts the steps of all epochs, also for N parity steps. Pairs are cut to
`--length` tokens from the longer sentence. MRPC and CoLA take the cross entropy of two classes; STS-B the squared error
of one output against the score from 0 to 5.
"""

import argparse
import hashlib
import json
import math
import platform
import random
import re
import shutil
import time
from pathlib import Path

import peft
import scipy
import sklearn
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

# Folder, columns of (label, sentence, sentence): names where the file has a header, places where it has none; outputs;
# the metric by which epochs are compared.
TASKS = {
    "mrpc": ("MRPC", ("Quality", "#1 String", "#2 String"), 2, "f1"),
    "stsb": ("STS-B", ("score", "sentence1", "sentence2"), 1, "pearson"),
    "cola": ("CoLA", (1, 3), 2, "matthews"),
}
WINDOW = 50  # batches that are sorted by length together
HEAD = "classifier."


def read_rows(path, columns):
    """The file's (label, sentence, ...) as strings. GLUE quotes nothing: a quotation mark is a letter."""
    text = path.read_text(encoding="utf-8-sig")
    rows = [line.split("\t") for line in text.split("\n") if line]  # `splitlines` would also cut at U+2028
    if isinstance(columns[0], str):
        header = rows.pop(0)
        columns = [header.index(name) for name in columns]
    return [[row[column] for column in columns] for row in rows]


def load_split(options, tokenizer, split):
    """The split's examples in file order: unpadded token ids, token types and the label."""
    folder, columns, outputs, _ = TASKS[options.task]
    rows = read_rows(options.data / folder / f"{split}.tsv", columns)
    _, *sentences = map(list, zip(*rows))
    encoded = tokenizer(*sentences, truncation="longest_first", max_length=options.length, padding=False)
    parse = float if outputs == 1 else int
    return [dict(ids=ids, types=types, label=parse(row[0]))
            for ids, types, row in zip(encoded["input_ids"], encoded["token_type_ids"], rows)]


def initial_model(options):
    """The checkpoint with a fresh head, which depends on the seed alone."""
    torch.manual_seed(options.seed)
    dropout = {} if options.dropout is None else dict(
        hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=options.dropout)
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=TASKS[options.task][2], dtype=torch.float32, **dropout)


def adapted(options, model):
    """The model with PEFT's adapters on every linear layer of the encoder's layers; the head is trained beside them."""
    return peft.get_peft_model(model, peft.LoraConfig(
        task_type="SEQ_CLS", r=options.lora, lora_alpha=2 * options.lora, lora_dropout=0.0,
        target_modules=r".*encoder\.layer\..*\.(query|key|value|dense)"))


def save_initial(options, model):
    if options.save_initial:
        model.save_pretrained(options.save_initial)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            if (options.model / name).exists():
                shutil.copyfile(options.model / name, options.save_initial / name)
    if options.save_head:
        save_file({key: value for key, value in model.state_dict().items() if key.startswith(HEAD)}, options.save_head)


def collate(examples, regression, dtype):
    """The model's arguments, padded on the right with id 0, which is BERT's [PAD], to the longest of `examples`."""
    width = max(len(example["ids"]) for example in examples)

    def padded(rows):
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    return dict(input_ids=padded(example["ids"] for example in examples),
                token_type_ids=padded(example["types"] for example in examples),
                attention_mask=padded([1] * len(example["ids"]) for example in examples),
                labels=torch.tensor([example["label"] for example in examples],
                                    dtype=dtype if regression else torch.long))


def bucketed(examples, size, generator):
    """One epoch's batches: shuffled, sorted by length within windows, and the batches shuffled."""
    order = list(range(len(examples)))
    generator.shuffle(order)
    batches = []
    for start in range(0, len(order), WINDOW * size):
        window = sorted(order[start:start + WINDOW * size], key=lambda index: len(examples[index]["ids"]))
        batches += [window[first:first + size] for first in range(0, len(window), size)]
    generator.shuffle(batches)
    return [[examples[index] for index in batch] for batch in batches]


def in_order(examples, size):
    """Every epoch's batches in the order of the file."""
    return [examples[first:first + size] for first in range(0, len(examples), size)]


def optimizer_and_schedule(options, model, rows):
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    total = options.epochs * math.ceil(rows / options.batch)
    return optimizer, transformers.get_linear_schedule_with_warmup(optimizer, 0, total), total


def train_step(model, batch, optimizer, schedule):
    """Updates once and returns the loss before the update."""
    loss = model(**batch).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item()


def evaluate(model, examples, task):
    """GLUE's metrics of the task on `examples`, as fractions."""
    regression = TASKS[task][2] == 1
    by_length = sorted(examples, key=lambda example: len(example["ids"]))
    outputs = []
    model.eval()
    with torch.no_grad():
        for first in range(0, len(by_length), 64):
            outputs.append(model(**collate(by_length[first:first + 64], regression, torch.float32)).logits)
    outputs = torch.cat(outputs)
    labels = [example["label"] for example in by_length]
    if regression:
        scores = outputs.squeeze(1).numpy()
        return dict(pearson=float(pearsonr(scores, labels)[0]), spearman=float(spearmanr(scores, labels)[0]))
    predictions = outputs.argmax(1).numpy()
    if task == "cola":
        return dict(matthews=float(matthews_corrcoef(labels, predictions)))
    return dict(accuracy=float(accuracy_score(labels, predictions)), f1=float(f1_score(labels, predictions)))


def parity(options, tokenizer, model):
    """The losses of the first steps without dropout, in the order of the file."""
    examples = load_split(options, tokenizer, "train")
    dtype = torch.float64 if options.float64 else torch.float32
    model = model.to(dtype).eval()  # no dropout; gradients are not affected
    optimizer, schedule, total = optimizer_and_schedule(options, model, len(examples))
    losses, tokens, lengths = [], [], []
    for step in range(options.parity_steps):
        first = step % (total // options.epochs) * options.batch
        batch = collate(examples[first:first + options.batch], TASKS[options.task][2] == 1, dtype)
        tokens.append(int(batch["attention_mask"].sum()))
        lengths.append(batch["input_ids"].shape[1])
        losses.append(float(f"{train_step(model, batch, optimizer, schedule):.6e}"))
    return settings(options, len(examples), total) | dict(
        dropout=0.0, float64=options.float64, first_row=examples[0], losses=losses, tokens=tokens, lengths=lengths)


def finetune(options, tokenizer, model):
    """Trains all epochs and measures the development set after each."""
    train, dev = (load_split(options, tokenizer, split) for split in ("train", "dev"))
    optimizer, schedule, total = optimizer_and_schedule(options, model, len(train))
    generator, epochs = random.Random(options.seed), []
    report = settings(options, len(train), total) | dict(
        dropout=model.config.hidden_dropout_prob, dev_rows=len(dev),
        window_batches=None if options.keep_order else WINDOW,
        before=evaluate(model, dev, options.task), epochs=epochs)
    for epoch in range(1, options.epochs + 1):
        model.train()
        started, losses = time.monotonic(), []
        batches = in_order(train, options.batch) if options.keep_order else bucketed(train, options.batch, generator)
        for batch in batches:
            batch = collate(batch, TASKS[options.task][2] == 1, torch.float32)
            losses.append(train_step(model, batch, optimizer, schedule))
        seconds = time.monotonic() - started
        epochs.append(dict(
            epoch=epoch, mean_loss=sum(losses) / len(losses), **evaluate(model, dev, options.task),
            steps=len(losses), seconds=round(seconds, 1), seconds_per_step=round(seconds / len(losses), 4)))
        print(json.dumps(epochs[-1]), flush=True)
        write(report, options.out)  # a run that is cut short leaves its epochs
    return report


def settings(options, rows, total):
    """What the numbers depend on, without the machine's paths."""
    weights = hashlib.sha256((options.model / "model.safetensors").read_bytes()).hexdigest()
    return dict(
        script="tests/peer/glue_reference.py", task=options.task, model=options.model.resolve().name,
        model_sha256=weights, lora=options.lora, seed=options.seed, train_rows=rows, batch=options.batch,
        max_length=options.length,
        lr=options.lr, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0, clipping=None, warmup_steps=0,
        schedule_epochs=options.epochs, schedule_steps=total, threads=torch.get_num_threads(), device="cpu",
        versions=dict(python=platform.python_version(), torch=torch.__version__, tokenizers=tokenizers.__version__,
                      transformers=transformers.__version__, sklearn=sklearn.__version__, scipy=scipy.__version__,
                      peft=peft.__version__))


def summarize(paths):
    """One entry a run, with the last and the best epoch told apart."""
    runs = [json.loads(path.read_text()) for path in paths]
    for run in runs:
        metric, epochs = TASKS[run["task"]][3], run["epochs"]
        best = max(epochs, key=lambda epoch: epoch[metric])
        run |= dict(complete=len(epochs) == run["schedule_epochs"], metric=metric, last=epochs[-1][metric],
                    best=best[metric], best_epoch=best["epoch"])
    return runs


def write(value, path):
    text = json.dumps(value, indent=2)
    text = re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list of numbers on a line
    path.write_text(text + "\n")


def parse_options(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--model", type=Path, help="Hugging Face folder of a BERT")
    parser.add_argument("--data", type=Path, help="folder of GLUE's TSV folders")
    parser.add_argument("--seed", type=int, default=0, help="of the head, the order and the dropout")
    parser.add_argument("--dropout", type=float, help="instead of the configuration's")
    parser.add_argument("--keep-order", action="store_true", help="no shuffling: batches as the file has the rows")
    parser.add_argument("--save-initial", type=Path, help="folder to write the model before training to")
    parser.add_argument("--save-head", type=Path, help="file to write the head before training to")
    work = parser.add_mutually_exclusive_group()
    work.add_argument("--parity-steps", type=int, help="steps without dropout in the order of the file")
    parser.add_argument("--float64", action="store_true", help="parity steps in f64, to see how f32 rounding grows")
    parser.add_argument("--lora", type=int, help="rank of adapters to fine-tune")
    work.add_argument("--finetune", action="store_true", help="all epochs, with metrics after each")
    work.add_argument("--summarize", type=Path, nargs="+", help="outputs of --finetune to join")
    parser.add_argument("--out", type=Path, help="JSON file of the losses, the epochs or the summary")
    for name, default in dict(epochs=3, batch=16, length=128, lr=5e-5, threads=1).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args(words)
    if (options.parity_steps or options.finetune or options.summarize) and not options.out:
        parser.error("--out is missing")
    if not options.summarize and not (options.task and options.model and options.data):
        parser.error("--task, --model and --data are needed")
    return options


def main():
    options = parse_options()
    torch.set_num_threads(options.threads)
    if options.summarize:
        write(summarize(options.summarize), options.out)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = initial_model(options)
    save_initial(options, model)
    if options.parity_steps:
        write(parity(options, tokenizer, model), options.out)
    if options.finetune:
        model = adapted(options, model) if options.lora else model
        write(finetune(options, tokenizer, model), options.out)


if __name__ == "__main__":
    main()
