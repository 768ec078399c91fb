"""Holds `logistic` and `linear` to scikit-learn on its own data sets.

`write FOLDER` leaves them there as CSV; `compare FOLDER` fits the same models on what was built in it.
"""

import json
import sys
from pathlib import Path

import numpy
import pandas
import safetensors.numpy
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

step, folder = sys.argv[1], Path(sys.argv[2])


def tables():
    """Name to (features, labels by column)."""
    cancer = datasets.load_breast_cancer(as_frame=True)
    wine = datasets.load_wine(as_frame=True)
    iris = datasets.load_iris(as_frame=True)
    diabetes = datasets.load_diabetes(as_frame=True, scaled=False)
    words = numpy.array(["low", "mid", "top"])
    random = numpy.random.default_rng(7)
    wide = pandas.DataFrame(random.normal(size=(800, 45)), columns=[f"c{i:02}" for i in range(45)])
    pull = wide.to_numpy() @ random.normal(size=(45, 12)) + 2 * random.gumbel(size=(800, 12))
    traits = {
        "strong": wine.data["alcohol"] + random.normal(size=178) / 2 > 13,
        "pale": wine.data["color_intensity"] + random.normal(size=178) < 4.5,
    }
    return {
        "cancer": (cancer.data, {"target": cancer.target == 1}),
        "wine": (wine.data, {"target": words[wine.target]}),
        "iris": (iris.data.iloc[:130], {"target": iris.target[:130]}),
        "diabetes": (diabetes.data, {"target": diabetes.target.astype(float)}),
        "traits": (wine.data, traits),
        "wide": (wide, {"target": pull.argmax(axis=1)}),
    }


def named(features):
    """The columns under names without blanks, in order of name as mlbuild has them."""
    features = features.rename(columns=lambda name: "".join(c if c.isalnum() else "_" for c in name))
    return features[sorted(features.columns)]


if step == "write":
    folder.mkdir(parents=True, exist_ok=True)
    for name, (features, labels) in tables().items():
        table = named(features).assign(**labels)
        table.insert(0, "id", range(len(table)))
        table.to_csv(folder / f"{name}.csv", index=False)
    sys.exit()


def weights(model):
    """Weights and biases as scikit-learn shapes them."""
    found = safetensors.numpy.load_file(folder / f"out/model/{model}/model.safetensors")
    return found["weights"], found["bias"]


def close(model, what, found, expected, tolerance=1e-5):
    worst = numpy.abs(found - expected).max() / max(1, numpy.abs(expected).max())
    assert found.shape == expected.shape and worst < tolerance, (model, what, worst)
    return worst


MODELS = {
    "cancer": ("cancer", dict(C=1)),
    "cancer_balanced": ("cancer", dict(C=10, class_weight="balanced")),
    "wine": ("wine", dict(C=2)),
    "iris": ("iris", dict(C=1, class_weight="balanced")),
    "wide": ("wide", dict(C=1)),
}
data = tables()
fitted = {}
for model, (name, options) in MODELS.items():
    features, labels = data[name]
    scaled = StandardScaler().fit_transform(named(features))
    expected = LogisticRegression(tol=1e-10, max_iter=100_000, **options).fit(scaled, labels["target"])
    fitted[model] = expected, scaled
    found, bias = weights(model)
    worst = close(model, "weights", found, expected.coef_)
    centred = [b - b.mean() if len(b) > 1 else b for b in (bias, expected.intercept_)]
    worst = max(worst, close(model, "bias", *centred))
    print(f"{model:16} {found.shape[0]:3} x {found.shape[1]:3} weights, off by at most {worst:.1e}")

features, labels = data["traits"]
scaled = StandardScaler().fit_transform(named(features))
found, bias = weights("traits")
for row, label in enumerate(labels):
    expected = LogisticRegression(tol=1e-10, max_iter=100_000).fit(scaled, labels[label])
    close("traits", label, found[row], expected.coef_[0])

features, labels = data["diabetes"]
scaled = StandardScaler().fit_transform(named(features))
for model, expected in {"ridge": Ridge(alpha=3), "least_squares": LinearRegression()}.items():
    expected = expected.fit(scaled, labels["target"])
    found, bias = weights(model)
    worst = close(model, "weights", found[0], expected.coef_, 1e-9)
    worst = max(worst, close(model, "bias", bias, numpy.array([expected.intercept_]), 1e-9))
    print(f"{model:16}   1 x {found.shape[1]:3} weights, off by at most {worst:.1e}")

amounts = pandas.read_parquet(folder / "out/data/diabetes_amounts.parquet").sort_values("id")
ridge = Ridge(alpha=3).fit(scaled, labels["target"])
close("ridge", "predictions", amounts["prediction"].to_numpy(), ridge.predict(scaled), 1e-9)

expected, scaled = fitted["wine"]
rows = pandas.read_parquet(folder / "out/data/wine_classes.parquet").sort_values("id")
shares = [dict(zip(row.classes, row.scores)) for row in rows.itertuples()]
shares = numpy.array([[row[name] for name in expected.classes_] for row in shares])
close("wine", "probabilities", shares, expected.predict_proba(scaled))
assert (rows["prediction"].to_numpy() == expected.predict(scaled)).all()
for model in ("cancer", "wine"):
    described = json.loads((folder / f"out/model/{model}/model.json").read_text())
    assert described["format"] == 2 and described["metrics"]["train_accuracy"] > 0.98, described["metrics"]
