"""A logistic regression of scikit-learn, with its figures."""

import json
import os
import pickle

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .cancer import parts


def main(inputs, out, params):
    events = open(int(os.environ["MLBUILD_EVENTS"]), "w", buffering=1)
    (x, y), (x_valid, y_valid) = parts(inputs["data:cancer"])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=params["c"])).fit(x, y)
    scores = model.predict_proba(x_valid)[:, 1]
    metrics = {"valid_auc": roc_auc_score(y_valid, scores), "valid_log_loss": log_loss(y_valid, scores)}
    print(json.dumps({"metrics": metrics}), file=events)
    (out / "model.pickle").write_bytes(pickle.dumps(model))


def predict(inputs, out, params):
    model = pickle.loads((inputs["model:logistic"].path / "model.pickle").read_bytes())
    frame = inputs["data:cancer"].to_pandas()
    scores = model.predict_proba(frame.drop(columns=["id", "target"]))[:, 1]
    return frame[["id"]].assign(prediction=scores)
