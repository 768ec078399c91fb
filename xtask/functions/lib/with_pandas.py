import json

import pandas as pd


def make(inputs, out, params):
    orders = pd.read_parquet(inputs["data:orders"])
    assert orders.equals(inputs["data:orders"].to_pandas())
    return orders.assign(double=orders.amount * params["factor"]).set_index("id")


def fit(inputs, out, params):
    mean = pd.read_parquet(inputs["features:pandas"]).amount.mean()
    (out / "mean.json").write_text(json.dumps(mean))
