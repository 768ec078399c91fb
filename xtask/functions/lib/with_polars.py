import polars as pl


def make(inputs, out, params):
    orders = pl.DataFrame(inputs["data:orders"])
    assert orders.equals(inputs["data:orders"].to_polars())
    return orders.lazy().with_columns(double=pl.col("amount") * params["factor"])
