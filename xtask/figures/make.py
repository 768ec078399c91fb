"""Writes the tables of this project: 5,000 seeded rows each, with ties, rare classes and lists of several relevant items."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

raw = Path(sys.argv[1]) / "raw"
raw.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(20)
ROWS = 5000
rows = pa.array(range(ROWS))


def write(name, **columns):
    pq.write_table(pa.table({"row": rows, **columns}), raw / f"{name}.parquet")


def ranked(names, scores):
    """Classes best first, ties in the order of the classes, and their scores."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return {
        "classes": pa.array([[names[c] for c in row] for row in order]),
        "scores": pa.array(np.take_along_axis(scores, order, axis=1).tolist()),
    }


truth = random.random(ROWS) < 0.2
positive = np.round(np.clip(0.35 + 0.25 * truth + 0.2 * random.standard_normal(ROWS), 0, 1), 2)
scores = np.stack([1 - positive, positive], axis=1)
write("binary_truth", label=pa.array(np.where(truth, "yes", "no")), part=pa.array(random.choice(["x", "y", "z"], ROWS)))
write("binary", prediction=pa.array(np.where(positive > 0.5, "yes", "no")), **ranked(["no", "yes"], scores))

names = list(range(10, 17))
truth = random.choice(7, ROWS, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.015, 0.005])
logits = 1.2 * np.eye(7)[truth] + random.standard_normal((ROWS, 7))
scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
write("classes_truth", label=pa.array([names[c] for c in truth]))
write("classes", prediction=pa.array([names[c] for c in scores.argmax(axis=1)]), **ranked(names, scores))

names = ["a", "b", "c", "d"]
truth = random.random((ROWS, 4)) < [0.5, 0.2, 0.1, 0.02]
scores = np.round(np.clip(0.3 + 0.3 * truth + 0.2 * random.standard_normal((ROWS, 4)), 0, 1), 3)
write("labels_truth", **{name: pa.array(truth[:, c]) for c, name in enumerate(names)})
predicted = [[names[c] for c in range(4) if row[c] >= 0.5] for row in scores]
write("labels", prediction=pa.array(predicted, pa.list_(pa.string())), **ranked(names, scores))

truth = np.exp(1 + random.standard_normal(ROWS))
write("numbers_truth", label=pa.array(truth))
write("numbers", prediction=pa.array(truth * np.exp(0.3 * random.standard_normal(ROWS))))

relevant = [random.choice(200, 1 + random.integers(6), replace=False).tolist() for _ in range(ROWS)]
lists = []
for items in relevant:
    order = random.permutation(200)[:30].tolist()
    if random.random() < 0.5 and items[0] not in order:
        order[int(random.integers(30))] = items[0]
    lists.append(order)
write("lists_truth", label=pa.array(relevant))
write("lists", items=pa.array(lists))
