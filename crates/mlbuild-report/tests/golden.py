"""Makes the golden figures of golden.rs with scikit-learn and trec_eval: `python3 golden.py`.

Both sides draw the same rows from the same linear congruential generator; all scores are multiples of 1/1000, so they tie.
Needs numpy, scikit-learn and pytrec-eval-terrier.
"""

import math

import numpy as np
import pytrec_eval
from sklearn import metrics as m

state = 7


def below(end):
    global state
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    return (state >> 33) % end


def show(name, value):
    print(f'    ("{name}", {float(value)!r}),')


def thousandths(parts):
    """So many scores, in thousandths, that are 1000 together."""
    cuts = sorted(below(1001) for _ in range(parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, 1000])]


def ece(truth, scores):
    surest = scores.argmax(axis=1)
    confidence = scores.max(axis=1)
    right = surest == truth
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if low == 0:
            inside |= confidence == 0
        if inside.any():
            total += abs(confidence[inside].sum() - right[inside].sum())
    return total / len(truth)


print("binary")
truth = np.array([below(10) < 3 for _ in range(60)], dtype=int)
positive = np.array([min(below(1001), 400 + below(601)) if y else below(801) for y in truth]) / 1000
scores = np.stack([1 - positive, positive], axis=1)
predicted = (positive > 0.5).astype(int)
show("accuracy", m.accuracy_score(truth, predicted))
show("balanced_accuracy", m.balanced_accuracy_score(truth, predicted))
show("brier", m.brier_score_loss(truth, positive))
show("ece", ece(truth, scores))
show("f1", m.f1_score(truth, predicted))
show("f1_macro", m.f1_score(truth, predicted, average="macro"))
show("f1_micro", m.f1_score(truth, predicted, average="micro"))
show("f1_weighted", m.f1_score(truth, predicted, average="weighted"))
show("log_loss", m.log_loss(truth, scores))
show("mcc", m.matthews_corrcoef(truth, predicted))
show("pr_auc", m.average_precision_score(truth, positive))
show("precision", m.precision_score(truth, predicted))
show("recall", m.recall_score(truth, predicted))
show("roc_auc", m.roc_auc_score(truth, positive))

print("several")
truth = np.array([below(4) for _ in range(60)])
rows = []
for y in truth:
    parts = thousandths(4)
    if below(2):
        best = parts.index(max(parts))
        parts[best], parts[y] = parts[y], parts[best]
    rows.append(parts)
scores = np.array(rows) / 1000
predicted = scores.argmax(axis=1)
show("accuracy", m.accuracy_score(truth, predicted))
show("balanced_accuracy", m.balanced_accuracy_score(truth, predicted))
show("brier", ((scores - np.eye(4)[truth]) ** 2).sum(axis=1).mean())
show("ece", ece(truth, scores))
show("f1_macro", m.f1_score(truth, predicted, average="macro"))
show("f1_micro", m.f1_score(truth, predicted, average="micro"))
show("f1_weighted", m.f1_score(truth, predicted, average="weighted"))
show("log_loss", m.log_loss(truth, scores))
show("mcc", m.matthews_corrcoef(truth, predicted))
one_hot = np.eye(4)[truth]
show("pr_auc", m.average_precision_score(one_hot, scores, average="macro"))
show("precision_macro", m.precision_score(truth, predicted, average="macro"))
show("recall_macro", m.recall_score(truth, predicted, average="macro"))
show("roc_auc", m.roc_auc_score(truth, scores, multi_class="ovr", average="macro"))

print("labels")
truth = np.array([[below(3) == 0 for _ in range(3)] for _ in range(60)], dtype=int)
scores = np.array([[300 * y + below(701) for y in row] for row in truth]) / 1000
predicted = (scores >= 0.5).astype(int)
show("f1_macro", m.f1_score(truth, predicted, average="macro"))
show("f1_micro", m.f1_score(truth, predicted, average="micro"))
show("f1_weighted", m.f1_score(truth, predicted, average="weighted"))
show("hamming_loss", m.hamming_loss(truth, predicted))
show("log_loss", np.mean([m.log_loss(truth[:, c], scores[:, c], labels=[0, 1]) for c in range(3)]))
show("pr_auc", m.average_precision_score(truth, scores, average="macro"))
show("precision_macro", m.precision_score(truth, predicted, average="macro"))
show("precision_micro", m.precision_score(truth, predicted, average="micro"))
show("recall_macro", m.recall_score(truth, predicted, average="macro"))
show("recall_micro", m.recall_score(truth, predicted, average="micro"))
show("roc_auc", m.roc_auc_score(truth, scores, average="macro"))
show("subset_accuracy", m.accuracy_score(truth, predicted))

print("numbers")
truth = np.array([1000 + below(9000) for _ in range(60)]) / 1000
predicted = truth + np.array([below(2001) - 900 for _ in range(60)]) / 1000
error = np.abs(predicted - truth)
show("absolute_error@0.9", np.quantile(error, 0.9))
show("mae", m.mean_absolute_error(truth, predicted))
show("mape", m.mean_absolute_percentage_error(truth, predicted))
show("median_ae", m.median_absolute_error(truth, predicted))
show("pinball@0.9", m.mean_pinball_loss(truth, predicted, alpha=0.9))
show("r2", m.r2_score(truth, predicted))
show("rmse", m.root_mean_squared_error(truth, predicted))

print("ranking")
relevant, run = {}, {}
for row in range(60):
    items = sorted({below(40) for _ in range(1 + below(4))})
    relevant[str(row)] = {str(item): 1 for item in items}
    order = list(range(40))
    for i in range(12):
        j = i + below(40 - i)
        order[i], order[j] = order[j], order[i]
    run[str(row)] = {str(item): 100.0 - rank for rank, item in enumerate(order[:12])}
measures = {"success_10", "recall_10", "P_10", "ndcg_cut_10", "recip_rank"}
found = pytrec_eval.RelevanceEvaluator(relevant, measures).evaluate(run)
cut = {row: dict(sorted(items.items(), key=lambda it: -it[1])[:10]) for row, items in run.items()}
found_cut = pytrec_eval.RelevanceEvaluator(relevant, {"recip_rank", "map"}).evaluate(cut)


def mean(name, of=found):
    return math.fsum(of[str(row)][name] for row in range(60)) / 60


show("hit_rate@10", mean("success_10"))
# trec_eval divides by all relevant items, of which there are never more than 10 here: so do we.
show("map@10", mean("map", found_cut))
show("mrr@10", mean("recip_rank", found_cut))
show("ndcg@10", mean("ndcg_cut_10"))
show("precision@10", mean("P_10"))
show("recall@10", mean("recall_10"))
