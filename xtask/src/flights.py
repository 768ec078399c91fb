"""Holds the flights' models to scikit-learn's on the same tables, and to the quality that the example states."""

import sys
from pathlib import Path

import numpy
import pandas
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

out = Path(sys.argv[1])
train, test = (pandas.read_parquet(out / f"features/{name}.parquet") for name in ("train", "test"))
words = ["carrier", "dest", "engine", "manufacturer", "origin"]
numbers = [name for name in train.columns if name not in [*words, "id", "leaves", "minutes"]]


def off_by(numbers, words):
    scaled = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    encoder = make_column_transformer((scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), words))
    model = make_pipeline(encoder, Ridge(alpha=1)).fit(train[numbers + words], train["minutes"])
    errors = model.predict(test[numbers + words]) - test["minutes"]
    return float(numpy.sqrt((errors**2).mean()))


score = pandas.read_parquet(out / "data/score.parquet").set_index("model")["rmse"]
for model, theirs in {"minutes": off_by(numbers, words), "distance": off_by(["distance"], [])}.items():
    print(f"{model:8} off by {score[model]:.3f} minutes, scikit-learn by {theirs:.3f}")
    assert abs(score[model] - theirs) < 0.05, (model, score[model], theirs)
assert score["minutes"] < 12 and score["minutes"] < 0.85 * score["distance"], score
