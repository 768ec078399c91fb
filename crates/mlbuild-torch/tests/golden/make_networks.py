"""Makes the golden numbers of tests/golden.rs: NAME.safetensors for each network and loss below.

    pip install torch==2.11.0 numpy safetensors
    python make_networks.py

The networks are put together from PyTorch's own modules (`nn.GRU`, `nn.LSTM`, `nn.TransformerEncoderLayer`), whose weights are
set from the names that mlbuild gives them, and computed in float64. Each file holds

    before.NAME     weights, float32
    states          what scores items, [m, d]
    loss            the mean loss of the batch
    gradient.NAME   its gradients
    after.NAME      weights after one step of the optimizer named in CASES
"""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

ITEMS, DIM, HIDDEN, LAYERS, HEADS, MAX_LENGTH = 7, 4, 6, 2, 2, 5
# Two windows; the second is shorter and padded on the right.
INPUTS = torch.tensor([[1, 2, 3, 2], [5, 6, 0, 0]])
LENGTHS = [4, 2]
TARGETS = torch.tensor([2, 3, 2, 4, 6, 0])
PLACES = torch.tensor([0, 1, 2, 3, 4, 5])
# For bert4rec: item 7 is the mask.
MASKED = torch.tensor([[1, 7, 3, 7], [7, 6, 0, 0]])
MASKED_PLACES, MASKED_TARGETS = torch.tensor([1, 3, 4]), torch.tensor([2, 4, 5])
NEGATIVES = torch.tensor([0, 3, 3, 5, 6])
COUNTS = torch.tensor([1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 2.0], dtype=torch.float64)


def recurrent_sizes(gates, hidden, tied):
    yield "item.weight", (ITEMS, DIM)
    yield "item.bias", (ITEMS,)
    for layer in range(LAYERS):
        yield f"layers.{layer}.in.weight", (gates * hidden, DIM if layer == 0 else hidden)
        yield f"layers.{layer}.state.weight", (gates * hidden, hidden)
        yield f"layers.{layer}.in.bias", (gates * hidden,)
        yield f"layers.{layer}.state.bias", (gates * hidden,)
    if not tied:
        yield "out.weight", (ITEMS, hidden)


def bert_sizes():
    yield "item.weight", (ITEMS, DIM)
    yield "item.bias", (ITEMS,)
    yield "mask.weight", (DIM,)
    yield "position.weight", (MAX_LENGTH, DIM)
    yield "norm.weight", (DIM,)
    yield "norm.bias", (DIM,)
    for layer in range(LAYERS):
        for name, size in [
            ("attention.in.weight", (3 * DIM, DIM)),
            ("attention.in.bias", (3 * DIM,)),
            ("attention.out.weight", (DIM, DIM)),
            ("attention.out.bias", (DIM,)),
            ("attention.norm.weight", (DIM,)),
            ("attention.norm.bias", (DIM,)),
            ("feed.in.weight", (4 * DIM, DIM)),
            ("feed.in.bias", (4 * DIM,)),
            ("feed.out.weight", (DIM, 4 * DIM)),
            ("feed.out.bias", (DIM,)),
            ("feed.norm.weight", (DIM,)),
            ("feed.norm.bias", (DIM,)),
        ]:
            yield f"layers.{layer}.{name}", size
    yield "head.weight", (DIM, DIM)
    yield "head.bias", (DIM,)
    yield "head.norm.weight", (DIM,)
    yield "head.norm.bias", (DIM,)


def recurrent(module, hidden, w):
    """States of real positions, by nn.GRU or nn.LSTM."""
    names = {"weight_ih": "in.weight", "weight_hh": "state.weight", "bias_ih": "in.bias", "bias_hh": "state.bias"}
    net = module(DIM, hidden, LAYERS, batch_first=True).double()
    values = {f"{theirs}_l{layer}": w[f"layers.{layer}.{ours}"] for theirs, ours in names.items() for layer in range(LAYERS)}
    embedded = F.embedding(INPUTS, w["item.weight"]) * DIM**0.5
    packed = nn.utils.rnn.pack_padded_sequence(embedded, LENGTHS, batch_first=True)
    states, _ = torch.func.functional_call(net, values, (packed,))
    states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    return states.reshape(-1, hidden)[PLACES]


def bert(w):
    """States of masked positions after the head, by nn.TransformerEncoderLayer."""
    is_mask = (MASKED == ITEMS)[..., None]
    x = F.embedding(MASKED.clamp(max=ITEMS - 1), w["item.weight"])
    x = torch.where(is_mask, w["mask.weight"], x) + w["position.weight"][: MASKED.shape[1]]
    x = F.layer_norm(x, [DIM], w["norm.weight"], w["norm.bias"])
    padding = torch.arange(MASKED.shape[1])[None, :] >= torch.tensor(LENGTHS)[:, None]
    for layer in range(LAYERS):
        net = nn.TransformerEncoderLayer(DIM, HEADS, 4 * DIM, 0.0, "gelu", batch_first=True).double()
        p = f"layers.{layer}."
        values = {
            "self_attn.in_proj_weight": w[p + "attention.in.weight"],
            "self_attn.in_proj_bias": w[p + "attention.in.bias"],
            "self_attn.out_proj.weight": w[p + "attention.out.weight"],
            "self_attn.out_proj.bias": w[p + "attention.out.bias"],
            "norm1.weight": w[p + "attention.norm.weight"],
            "norm1.bias": w[p + "attention.norm.bias"],
            "linear1.weight": w[p + "feed.in.weight"],
            "linear1.bias": w[p + "feed.in.bias"],
            "linear2.weight": w[p + "feed.out.weight"],
            "linear2.bias": w[p + "feed.out.bias"],
            "norm2.weight": w[p + "feed.norm.weight"],
            "norm2.bias": w[p + "feed.norm.bias"],
        }
        x = torch.func.functional_call(net, values, (x,), {"src_key_padding_mask": padding})
    x = x.reshape(-1, DIM)[MASKED_PLACES]
    x = F.gelu(F.linear(x, w["head.weight"], w["head.bias"]))
    return F.layer_norm(x, [DIM], w["head.norm.weight"], w["head.norm.bias"])


def softmax(states, matrix, bias, targets):
    return F.cross_entropy(states @ matrix.T + bias, targets)


def sampled(states, matrix, bias, targets):
    """By popularity, with log q correction; a negative that is the target does not count."""
    log_q = torch.log(COUNTS / COUNTS.sum())
    scores = states @ matrix.T + bias - log_q
    of_target = scores.gather(1, targets[:, None])
    of_negatives = scores[:, NEGATIVES].masked_fill(NEGATIVES[None, :] == targets[:, None], -torch.inf)
    return -(of_target[:, 0] - torch.cat([of_target, of_negatives], 1).logsumexp(1)).mean()


def bce(states, matrix, bias, targets):
    """Two negatives a prediction: NEGATIVES over and over."""
    negatives = NEGATIVES.repeat(10)[: 2 * len(targets)].reshape(-1, 2)
    scores = states @ matrix.T + bias
    of_target = scores.gather(1, targets[:, None])
    of_negatives = scores.gather(1, negatives)
    each = torch.cat([-F.logsigmoid(of_target), -F.logsigmoid(-of_negatives)], 1)
    return each.sum(1).mean()


def adam(values):
    return torch.optim.Adam(values, lr=0.01)


def sgd(values):
    return torch.optim.SGD(values, lr=0.1, momentum=0.9)


# Name: sizes, states, output matrix, targets, loss, optimizer.
CASES = {
    "gru4rec": (
        list(recurrent_sizes(3, DIM, True)), lambda w: recurrent(nn.GRU, DIM, w), "item.weight", TARGETS, softmax, sgd,
    ),
    "lstm": (
        list(recurrent_sizes(4, HIDDEN, False)), lambda w: recurrent(nn.LSTM, HIDDEN, w), "out.weight", TARGETS, softmax, adam,
    ),
    "bert4rec": (list(bert_sizes()), bert, "item.weight", MASKED_TARGETS, softmax, sgd),
    "sampled": (
        list(recurrent_sizes(3, DIM, True)), lambda w: recurrent(nn.GRU, DIM, w), "item.weight", TARGETS, sampled, sgd,
    ),
    "bce": (
        list(recurrent_sizes(3, DIM, True)), lambda w: recurrent(nn.GRU, DIM, w), "item.weight", TARGETS, bce, sgd,
    ),
}


def main():
    for name, (sizes, network, matrix, targets, loss_of, optimizer) in CASES.items():
        generator = torch.Generator().manual_seed(7)
        w = {}
        for weight, size in sizes:
            value = torch.randn(size, generator=generator) * 0.5
            if weight.endswith("norm.weight"):
                value += 1
            w[weight] = value.double().requires_grad_()
        out = {f"before.{weight}": value.detach().clone() for weight, value in w.items()}
        steps = optimizer(list(w.values()))
        states = network(w)
        loss = loss_of(states, w[matrix], w["item.bias"], targets)
        loss.backward()
        out["states"] = states.detach()
        out["loss"] = loss.detach().reshape(1)
        out |= {f"gradient.{weight}": value.grad.clone() for weight, value in w.items()}
        steps.step()
        out |= {f"after.{weight}": value.detach().clone() for weight, value in w.items()}
        save_file({key: value.float().contiguous() for key, value in out.items()}, f"{name}.safetensors")


main()
