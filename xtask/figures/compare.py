"""Holds every figure of the project's reports to scikit-learn and trec_eval, to 1e-9."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytrec_eval
from sklearn import metrics as m

project = Path(sys.argv[1])
compared = 0


def table(name):
    return pq.read_table(project / "raw" / f"{name}.parquet").to_pydict()


def figures(name, group=None):
    report = json.loads((project / "out/report" / name / "report.json").read_text())
    if group is None:
        return {it["metric"]: it["value"] for it in report["models"][0]["figures"]}
    slices = [it for it in report["slices"] if it["key"] == "part"]
    return {
        it["metric"]: next(g for g in it["groups"] if g["name"] == group)["figures"][0]["value"] for it in slices
    }


def hold(name, expected, group=None):
    global compared
    found = figures(name, group)
    assert found.keys() == expected.keys(), (name, found.keys() ^ expected.keys())
    for metric, value in expected.items():
        assert abs(found[metric] - value) <= 1e-9, (name, group, metric, found[metric], value)
        compared += 1


def matrix(predictions, names):
    rows = zip(predictions["classes"], predictions["scores"])
    by_class = [dict(zip(classes, scores)) for classes, scores in rows]
    return np.array([[row[name] for name in names] for row in by_class])


def calibration_error(truth, scores):
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    bins = np.clip(np.ceil(confidence * 15).astype(int), 1, 15)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(1, 16)]
    return sum(gaps) / len(truth)


def of_counts(truth, predicted):
    score = {"f1": m.f1_score, "precision": m.precision_score, "recall": m.recall_score}
    found = {f"{name}_macro": of(truth, predicted, average="macro", zero_division=0) for name, of in score.items()}
    for average in ("micro", "weighted"):
        found[f"f1_{average}"] = m.f1_score(truth, predicted, average=average, zero_division=0)
    return found


def of_classes(truth, predicted, scores):
    return {
        **of_counts(truth, predicted),
        "accuracy": m.accuracy_score(truth, predicted),
        "balanced_accuracy": m.balanced_accuracy_score(truth, predicted),
        "ece": calibration_error(truth, scores),
        "log_loss": m.log_loss(truth, scores, labels=range(scores.shape[1])),
        "mcc": m.matthews_corrcoef(truth, predicted),
    }


truths, predictions = table("binary_truth"), table("binary")
truth = np.array([label == "yes" for label in truths["label"]], dtype=int)
predicted = np.array([label == "yes" for label in predictions["prediction"]], dtype=int)
scores = matrix(predictions, ["no", "yes"])


def binary(rows):
    t, p, s = truth[rows], predicted[rows], scores[rows]
    return {
        **of_classes(t, p, s),
        "brier": m.brier_score_loss(t, s[:, 1]),
        "f1": m.f1_score(t, p),
        "pr_auc": m.average_precision_score(t, s[:, 1]),
        "precision": m.precision_score(t, p),
        "recall": m.recall_score(t, p),
        "roc_auc": m.roc_auc_score(t, s[:, 1]),
    }


hold("binary", binary(slice(None)))
part = np.array(truths["part"])
for group in "xyz":
    hold("binary", binary(part == group), group)

names = list(range(10, 17))
truths, predictions = table("classes_truth"), table("classes")
truth = np.array(truths["label"]) - 10
scores = matrix(predictions, names)
one_hot = np.eye(7)[truth]
hold(
    "classes",
    {
        **of_classes(truth, np.array(predictions["prediction"]) - 10, scores),
        "brier": ((scores - one_hot) ** 2).sum(axis=1).mean(),
        "pr_auc": m.average_precision_score(one_hot, scores, average="macro"),
        "roc_auc": m.roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
    },
)

names = ["a", "b", "c", "d"]
truths, predictions = table("labels_truth"), table("labels")
truth = np.array([truths[name] for name in names], dtype=int).T
predicted = np.array([[name in row for name in names] for row in predictions["prediction"]], dtype=int)
scores = matrix(predictions, names)
hold(
    "labels",
    {
        **of_counts(truth, predicted),
        "hamming_loss": m.hamming_loss(truth, predicted),
        "log_loss": np.mean([m.log_loss(truth[:, c], scores[:, c], labels=[0, 1]) for c in range(4)]),
        "pr_auc": m.average_precision_score(truth, scores, average="macro"),
        "precision_micro": m.precision_score(truth, predicted, average="micro"),
        "recall_micro": m.recall_score(truth, predicted, average="micro"),
        "roc_auc": m.roc_auc_score(truth, scores, average="macro"),
        "subset_accuracy": m.accuracy_score(truth, predicted),
    },
)

truth, predicted = np.array(table("numbers_truth")["label"]), np.array(table("numbers")["prediction"])
hold(
    "numbers",
    {
        "absolute_error@0.95": np.quantile(np.abs(truth - predicted), 0.95),
        "mae": m.mean_absolute_error(truth, predicted),
        "mape": m.mean_absolute_percentage_error(truth, predicted),
        "median_ae": m.median_absolute_error(truth, predicted),
        "pinball@0.1": m.mean_pinball_loss(truth, predicted, alpha=0.1),
        "pinball@0.9": m.mean_pinball_loss(truth, predicted, alpha=0.9),
        "r2": m.r2_score(truth, predicted),
        "rmse": m.root_mean_squared_error(truth, predicted),
    },
)

lists, relevant = table("lists")["items"], table("lists_truth")["label"]
qrels = {str(row): {str(item): 1 for item in items} for row, items in enumerate(relevant)}


def trec(k):
    """Figures of the lists cut at k: trec_eval's own cut-offs stand at fixed depths, and its MAP has none."""
    run = {str(row): {str(item): float(k - rank) for rank, item in enumerate(items[:k])} for row, items in enumerate(lists)}
    measures = {"map", "recip_rank", f"ndcg_cut_{k}", f"P_{k}", f"recall_{k}"}
    rows = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run).values()
    mean = lambda name: float(np.mean([row[name] for row in rows]))
    return {
        f"hit_rate@{k}": float(np.mean([row["recip_rank"] > 0 for row in rows])),
        f"map@{k}": mean("map"),
        f"mrr@{k}": mean("recip_rank"),
        f"ndcg@{k}": mean(f"ndcg_cut_{k}"),
        f"precision@{k}": mean(f"P_{k}"),
        f"recall@{k}": mean(f"recall_{k}"),
    }


found = figures("lists")
hold("lists", {name: value for name, value in {**trec(5), **trec(20)}.items() if name in found})
print(f"{compared} figures agree with scikit-learn and trec_eval to 1e-9")
