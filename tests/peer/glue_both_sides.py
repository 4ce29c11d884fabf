"""One full fine-tuning by transformers and PyTorch, and the same one by our runner: the same rows, head and batches.

    python glue_both_sides.py --task mrpc --model MODEL --data GLUE --runner RUNNER --work DIR --out both_sides.json

MODEL and GLUE are those of `glue_reference.py`; RUNNER is the executable that `cargo xtask reproduce-paper` builds
(`blockllm-experiments`). Without dropout, and with every epoch's batches in the order of a file that is written here
(shuffled and bucketed once), nothing random is left, so that what differs is arithmetic and nothing else. DIR keeps both
sides' records. The file named by `--out` has one entry a task; others' entries stay.

Recipe: AdamW, 3 epochs, batches of 16, at most 128 tokens, 5e-5 falling linearly to 0.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

import torch
import transformers

import glue_reference as reference


def write_rows(options, tokenizer):
    """The training file in the order of one bucketed epoch, the short batch last, and the development file as it is."""
    folder, columns, _, _ = reference.TASKS[options.task]
    target = options.work / "glue" / folder
    target.mkdir(parents=True, exist_ok=True)
    (target / "dev.tsv").write_bytes((options.data / folder / "dev.tsv").read_bytes())
    text = (options.data / folder / "train.tsv").read_text(encoding="utf-8-sig")
    lines = [line for line in text.split("\n") if line]
    header = [lines.pop(0)] if isinstance(columns[0], str) else []
    examples = reference.load_split(options, tokenizer, "train")
    rows = [example | dict(line=line) for example, line in zip(examples, lines, strict=True)]
    batches = reference.bucketed(rows, options.batch, random.Random(options.seed))
    batches.sort(key=lambda batch: len(batch) < options.batch)
    ordered = [row["line"] for batch in batches for row in batch]
    (target / "train.tsv").write_text("\n".join(header + ordered) + "\n", encoding="utf-8")


def our_side(options, initial):
    """The runner's development metrics after each epoch, and its training losses."""
    folder, out = reference.TASKS[options.task][0], options.work / "ours"
    subprocess.run([
        options.runner, "glue", "--scale", "cpu", "--data", options.work / "glue", "--model-dir", initial,
        "--tasks", folder, "--methods", f"adamw@{options.lr}", "--order", "file", "--out", out,
    ], check=True)
    run = out / "glue" / folder / f"adamw-{options.lr}-0"
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "step"]
    metrics = [{name.lower(): value for name, value in record["metrics"].items()}
               for record in records if record["kind"] == "evaluation" and record["step"] > 0]
    return metrics, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=reference.TASKS, required=True)
    for name in ("model", "data", "runner", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    initial = given.work / "initial"
    options = reference.parse_options([
        "--task", given.task, "--model", str(given.model), "--data", str(given.data), "--dropout", "0",
        "--save-initial", str(initial), "--finetune", "--keep-order", "--out", str(given.work / "theirs.json")])
    options.work, options.runner = given.work, given.runner
    torch.set_num_threads(options.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    write_rows(options, tokenizer)
    options.data = given.work / "glue"
    model = reference.initial_model(options)
    reference.save_initial(options, model)
    ours, our_losses = our_side(options, initial)
    theirs = reference.finetune(options, tokenizer, model)
    metric = reference.TASKS[options.task][3]
    assert len(our_losses) == theirs["schedule_steps"], "both sides made the same steps"
    entry = {key: theirs[key] for key in ("task", "model", "model_sha256", "seed", "train_rows", "dev_rows", "batch",
                                          "max_length", "lr", "dropout", "schedule_steps", "versions")}
    entry |= dict(
        script="tests/peer/glue_both_sides.py", metric=metric,
        theirs=[{name: epoch[name] for name in ours[0]} for epoch in theirs["epochs"]], ours=ours,
        difference_in_points=round(100 * (ours[-1][metric] - theirs["epochs"][-1][metric]), 3))
    entries = json.loads(given.out.read_text()) if given.out.exists() else []
    entries = [other for other in entries if other["task"] != given.task] + [entry]
    reference.write(entries, given.out)
    print(f"{given.task}: ours {ours[-1]}, theirs {entry['theirs'][-1]}: {entry['difference_in_points']} points of {metric}")


if __name__ == "__main__":
    main()
