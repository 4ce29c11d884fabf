"""Useful tokens a second of the Python package `tokenizers` for the same rows as loader.rs: cut to 256 tokens, in parallel.

    python loader_peer.py DATA TOKENIZER.json [BATCHES]
"""

import glob
import gzip
import json
import sys
import time

from tokenizers import Tokenizer

ROWS, SEQ_LEN = 512, 256


def documents(folder):
    """The texts of the train shards, again and again."""
    while True:
        for shard in sorted(glob.glob(f"{folder}/**/c4-train.*.json.gz", recursive=True)):
            with gzip.open(shard) as lines:
                for line in lines:
                    yield json.loads(line)["text"]


def main():
    folder, path = sys.argv[1:3]
    batches = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(SEQ_LEN)
    texts, useful, started = documents(folder), 0, time.perf_counter()
    for _ in range(batches):
        rows = tokenizer.encode_batch_fast([next(texts) for _ in range(ROWS)])
        useful += sum(len(row) for row in rows)
    seconds = time.perf_counter() - started
    print(f"{useful} useful tokens in {seconds:.2f} s: {useful / seconds:.0f} a second")


main()
