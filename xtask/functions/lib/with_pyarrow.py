import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def make(inputs, out, params):
    orders = pa.table(inputs["data:orders"])
    assert orders.column_names == ["amount", "id"] == inputs["data:orders"].columns
    return orders.append_column("double", pc.multiply(orders["amount"], params["factor"]))


def stream(inputs, out, params):
    return inputs["data:orders"].to_pyarrow().to_reader()


def write(inputs, out, params):
    orders = inputs["data:orders"].to_pyarrow()
    pq.write_table(orders.slice(0, 1), out / "1.parquet")
    pq.write_table(orders.slice(1), out / "2.parquet")
