"""Holds the penguins' model to scikit-learn's on the same tables, and to the quality that the example states."""

import sys
from pathlib import Path

import pandas
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

out = Path(sys.argv[1])
train, test = (pandas.read_parquet(out / f"features/{name}.parquet") for name in ("train", "test"))
numbers = ["bill_depth_mm", "bill_length_mm", "body_mass_g", "flipper_length_mm", "year"]
scaled = make_pipeline(SimpleImputer(), StandardScaler())
encoder = make_column_transformer((scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), ["sex"]))
model = make_pipeline(encoder, LogisticRegression(max_iter=10_000, tol=1e-8))
features = numbers + ["sex"]
theirs = model.fit(train[features], train["species"]).score(test[features], test["species"])

score = pandas.read_parquet(out / "data/score.parquet").set_index("model")["accuracy"].astype(float)
print(f"species {score['species']:.4f}, scikit-learn {theirs:.4f}, constant {score['constant']:.4f}")
assert score["species"] > 0.98 and abs(score["species"] - theirs) < 0.01, (score, theirs)
assert abs(score["constant"] - 50 / 114) < 1e-9, score
