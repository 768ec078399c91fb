"""Makes sasrec.safetensors, the golden numbers of tests/golden.rs.

    pip install numpy safetensors
    python make_sasrec.py

Independent of libtorch: SASRec is written out in NumPy, in float64, and its gradients are central differences of the loss.
The weights are rounded to float32 first, so that both sides start from the same numbers. The file holds

    before.NAME     weights, float32
    hidden          [positions, dim] after the last layer norm, real positions only
    scores          [positions, items]
    loss            mean cross-entropy with label smoothing
    gradient.NAME   its gradients
    after.NAME      weights after two steps of AdamW on the same batch
"""

import numpy as np
from safetensors.numpy import save_file

ITEMS, DIM, LAYERS, HEADS, MAX_LENGTH = 7, 4, 2, 2, 5
SMOOTHING, LR, WEIGHT_DECAY, STEPS = 0.1, 0.01, 0.1, 2
# Two windows; the second is shorter and padded on the right.
INPUTS = [[1, 2, 3, 2], [5, 6]]
TARGETS = [2, 3, 2, 4, 6, 0]


def sizes():
    yield "item.weight", (ITEMS, DIM)
    yield "item.bias", (ITEMS,)
    yield "position.weight", (MAX_LENGTH, DIM)
    for layer in range(LAYERS):
        for name, size in [
            ("attention.norm.weight", (DIM,)),
            ("attention.norm.bias", (DIM,)),
            ("attention.in.weight", (3 * DIM, DIM)),
            ("attention.in.bias", (3 * DIM,)),
            ("attention.out.weight", (DIM, DIM)),
            ("attention.out.bias", (DIM,)),
            ("feed.norm.weight", (DIM,)),
            ("feed.norm.bias", (DIM,)),
            ("feed.in.weight", (DIM, DIM)),
            ("feed.in.bias", (DIM,)),
            ("feed.out.weight", (DIM, DIM)),
            ("feed.out.bias", (DIM,)),
        ]:
            yield f"layers.{layer}.{name}", size
    yield "norm.weight", (DIM,)
    yield "norm.bias", (DIM,)


def norm(x, scale, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def attend(x, w, prefix):
    """Softmax(Q K^T / sqrt(width)) V for each head, position i seeing positions j <= i."""
    length, width = len(x), DIM // HEADS
    query, key, value = np.split(x @ w[prefix + "in.weight"].T + w[prefix + "in.bias"], 3, axis=-1)
    mixed = np.zeros((length, DIM))
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        for i in range(length):
            scores = key[: i + 1, part] @ query[i, part] / np.sqrt(width)
            shares = np.exp(scores - scores.max())
            mixed[i, part] = shares / shares.sum() @ value[: i + 1, part]
    return mixed @ w[prefix + "out.weight"].T + w[prefix + "out.bias"]


def hidden(w):
    rows = []
    for items in INPUTS:
        x = w["item.weight"][items] * np.sqrt(DIM) + w["position.weight"][: len(items)]
        for layer in range(LAYERS):
            p = f"layers.{layer}."
            y = norm(x, w[p + "attention.norm.weight"], w[p + "attention.norm.bias"])
            x = x + attend(y, w, p + "attention.")
            y = norm(x, w[p + "feed.norm.weight"], w[p + "feed.norm.bias"])
            y = np.maximum(y @ w[p + "feed.in.weight"].T + w[p + "feed.in.bias"], 0)
            x = x + y @ w[p + "feed.out.weight"].T + w[p + "feed.out.bias"]
        rows.append(norm(x, w["norm.weight"], w["norm.bias"]))
    return np.concatenate(rows)


def scores(w):
    return hidden(w) @ w["item.weight"].T + w["item.bias"]


def loss(w):
    s = scores(w)
    log = s - s.max(axis=-1, keepdims=True)
    log = log - np.log(np.exp(log).sum(axis=-1, keepdims=True))
    target = log[np.arange(len(TARGETS)), TARGETS]
    return -((1 - SMOOTHING) * target + SMOOTHING * log.mean(axis=-1)).mean()


def gradients(w, h=1e-5):
    result = {}
    for name, value in w.items():
        result[name] = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + h
            up = loss(w)
            value[place] = kept - h
            down = loss(w)
            value[place] = kept
            result[name][place] = (up - down) / (2 * h)
    return result


def adamw(w, steps):
    first = {name: np.zeros_like(value) for name, value in w.items()}
    second = {name: np.zeros_like(value) for name, value in w.items()}
    for step in range(1, steps + 1):
        for name, gradient in gradients(w).items():
            if w[name].ndim == 2:
                w[name] *= 1 - LR * WEIGHT_DECAY
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            divisor = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
            w[name] -= LR * first[name] / (1 - 0.9**step) / divisor


def main():
    random = np.random.default_rng(7)
    w = {}
    for name, size in sizes():
        value = random.normal(0, 0.5, size) + (1.0 if name.endswith("norm.weight") else 0.0)
        w[name] = value.astype(np.float32).astype(np.float64)
    out = {f"before.{name}": value.copy() for name, value in w.items()}
    out["hidden"] = hidden(w)
    out["scores"] = scores(w)
    out["loss"] = np.array([loss(w)])
    out |= {f"gradient.{name}": value for name, value in gradients(w).items()}
    adamw(w, STEPS)
    out |= {f"after.{name}": value for name, value in w.items()}
    save_file({name: value.astype(np.float32) for name, value in out.items()}, "sasrec.safetensors")


main()
