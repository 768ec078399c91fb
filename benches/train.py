#!/usr/bin/env python3
"""Times a training step of the worker beside the same model in PyTorch, on the same threads, in turn.

    pip install torch==2.11.0 numpy safetensors
    cargo build --release -p mlbuild-torch
    python benches/train.py [--worker target/release/mlbuild-torch] [--threads 2] [--rounds 3]

Both train SASRec (64 wide, 2 blocks, 2 heads, windows of 100 items, dropout 0.3, the full softmax over 2,000 items, AdamW) on the
same windows. PyTorch runs eagerly, its modules put together as a user would; the worker also keeps the moving average of weights
if `--ema` says so. Rounds alternate, so that a machine that does other things slows both alike: trust the ratio. The start to the
first step is the time from starting the process to its first epoch of one step.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import save_file

ITEMS, DIM, LAYERS, HEADS, LENGTH, DROPOUT, BATCH, STEPS = 2000, 64, 2, 2, 100, 0.3, 16, 40
# What the client sets when it starts a worker.
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "GOMP_SPINCOUNT": "0",
    "MKL_CBWR": "AVX2,STRICT",
    "OMP_WAIT_POLICY": "PASSIVE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


def windows(rows):
    return np.random.default_rng(7).integers(0, ITEMS, (rows, LENGTH + 1))


def worker(program, threads, ema, steps):
    """Seconds of its second epoch a step, and from the start to the end of its first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        rows = windows(BATCH * steps)
        offsets = np.arange(len(rows) + 1) * (LENGTH + 1)
        save_file({"items": rows.reshape(-1), "offsets": offsets}, f"{folder}/train")
        params = {"epochs": 2, "max_length": LENGTH, "batch": BATCH, "ema": ema, "dropout": DROPOUT}
        request = {
            "type": "train",
            "model": {"architecture": "sasrec", "params": params, "items": ITEMS},
            "input": f"{folder}/train",
            "validate": None,
            "output": f"{folder}/weights",
            "checkpoint": None,
            "threads": threads,
            "device": "cpu",
        }
        begin = time.perf_counter()
        environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        frame = json.dumps(request).encode()
        process.stdin.write(struct.pack("<I", len(frame)) + frame)
        process.stdin.flush()
        epochs, first = [], None
        while header := process.stdout.read(4):
            message = json.loads(process.stdout.read(struct.unpack("<I", header)[0]))
            if message["type"] == "epoch":
                first = first or time.perf_counter() - begin
                epochs.append(message["metrics"]["seconds"])
            if message["type"] == "failed":
                sys.exit(message["message"])
        process.wait()
        return epochs[1] / steps, first


PYTORCH = """
import sys, time, torch
from torch import nn
from torch.nn import functional as F
threads, steps = int(sys.argv[1]), int(sys.argv[2])
items, dim, layers, heads, length, dropout, batch = map(eval, sys.argv[3:10])
torch.set_num_threads(threads)
torch.manual_seed(0)

class Sasrec(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(items, dim)
        self.position = nn.Embedding(length, dim)
        self.bias = nn.Parameter(torch.zeros(items))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, dim, dropout, "relu", batch_first=True, norm_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x):
        h = self.drop(self.item(x) * dim**0.5 + self.position.weight)
        for block in self.blocks:
            h = block(h, src_mask=self.mask, is_causal=True)
        return F.linear(self.norm(h), self.item.weight, self.bias)

model = Sasrec()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
data = torch.randint(0, items, (batch * steps, length + 1))
for epoch in range(2):
    begin = time.perf_counter()
    for rows in data.split(batch):
        scores = model(rows[:, :-1])
        loss = F.cross_entropy(scores.reshape(-1, items), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    seconds = time.perf_counter() - begin
print(seconds / steps)
"""


def pytorch(threads, steps):
    sizes = [str(size) for size in (ITEMS, DIM, LAYERS, HEADS, LENGTH, DROPOUT, BATCH)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    command = [sys.executable, "-c", PYTORCH, str(threads), str(steps), *sizes]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default="target/release/mlbuild-torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--ema", type=float, default=0.0)
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        ours, _ = worker(options.worker, options.threads, options.ema, options.steps)
        rounds.append((ours, pytorch(options.threads, options.steps)))
    starts = [worker(options.worker, options.threads, options.ema, 1)[1] for _ in range(options.rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*rounds))
    ratio = statistics.median(a / b for a, b in rounds)
    print("| | ms a step |\n|---|---|")
    print(f"| mlbuild | {ours * 1e3:.1f} |\n| PyTorch, eager | {theirs * 1e3:.1f} |")
    print(f"\nratio {ratio:.2f} ({', '.join(f'{a / b:.2f}' for a, b in rounds)}); start to first step {statistics.median(starts):.2f} s")


main()
