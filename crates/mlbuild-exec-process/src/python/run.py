"""Calls one function of the project, as the request in `argv[1]` says, and writes down how it went.

The request and the result are files of JSON. The working folder holds the project's code. What calls `main` is appended.
"""

import contextlib
import inspect
import json
import os
import pathlib
import sys
import traceback


class Input(os.PathLike):
    """An input of the function: a path that opens as a table, if it is one. Libraries are imported when they are asked for."""

    def __init__(self, name, path, columns, rows):
        self.name = name
        self.path = pathlib.Path(path)
        self.columns = columns
        self.rows = rows

    def __fspath__(self):
        return str(self.path)

    def __repr__(self):
        what = "files" if self.columns is None else f"{self.rows} rows of {', '.join(self.columns)}"
        return f"<{self.name}: {what}>"

    def to_pyarrow(self):
        """The table as a `pyarrow.Table`."""
        self._needs_table()
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.path)

    def to_pandas(self):
        """The table as a `pandas.DataFrame`."""
        return self.to_pyarrow().to_pandas()

    def to_polars(self):
        """The table as a `polars.DataFrame`."""
        self._needs_table()
        import polars

        return polars.read_parquet(self.path)

    def __arrow_c_stream__(self, requested_schema=None):
        # Through the library that is there already: the one that asks, most likely.
        table = self.to_polars() if "polars" in sys.modules else self.to_pyarrow()
        return table.__arrow_c_stream__(requested_schema)

    def _needs_table(self):
        if self.columns is None:
            raise TypeError(f"{self.name} is not a table but files: open what is in its `.path`")


class Inputs(dict):
    """The inputs by label."""

    def __missing__(self, name):
        there = ", ".join(self) or "none"
        raise KeyError(f"{name} is not among the declared inputs; there are: {there}")


class Refused(Exception):
    """What the function did cannot be taken."""

    def __init__(self, kind, message, help=None):
        super().__init__(message)
        self.kind = kind
        self.help = help


def call(request):
    function = load(request["module"], request["function"])
    inputs = Inputs((name, Input(name, **fields)) for name, fields in request["inputs"].items())
    out = pathlib.Path(request["out"])
    arguments = (inputs, out, request["params"])
    check_signature(function, arguments, request)
    returned = function(*arguments)
    if request["table"]:
        take_table(returned, out)
    elif returned is not None:
        message = f"returned {described(returned)}, but its files are what counts"
        raise Refused("returned", message, "write files to `out` and return nothing")


def load(module, name):
    __import__(module)
    found = sys.modules[module]
    if not hasattr(found, name):
        raise Refused("no-function", f"`{module}` has no function `{name}`")
    function = getattr(found, name)
    if not callable(function):
        raise Refused("no-function", f"`{module}:{name}` is {described(function)}, not a function")
    return function


def check_signature(function, arguments, request):
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        message = f"`{request['function']}{signature}` cannot be called as `{request['function']}(inputs, out, params)`: {error}"
        raise Refused("arguments", message, f"write `def {request['function']}(inputs, out, params):`") from None


def described(value):
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def take_table(returned, out):
    """Writes the table that was returned as Parquet; nothing was, if the function wrote the files itself."""
    if returned is None:
        return
    if any(out.iterdir()):
        raise Refused("returned", "returned a table and also wrote files to `out`", "do one or the other")
    file = out / "table.parquet"
    package = type(returned).__module__.split(".")[0]
    if package == "polars" and hasattr(returned, "collect") and not hasattr(returned, "write_parquet"):
        returned = returned.collect()
    if package == "polars" and hasattr(returned, "write_parquet"):
        returned.write_parquet(file)
    elif package == "pandas" and hasattr(returned, "to_parquet"):
        named = [name for name in returned.index.names if name is not None]
        (returned.reset_index() if named else returned).to_parquet(file, index=False)
    elif package == "pyarrow" or hasattr(returned, "__arrow_c_stream__"):
        write_arrow(returned, file)
    else:
        message = f"returned {described(returned)}, which is not a table"
        help = "return a table of pyarrow, pandas or polars, or write Parquet files to `out` and return nothing"
        raise Refused("returned", message, help)


def write_arrow(returned, file):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        try:
            import polars
        except ImportError:
            message = f"returned {described(returned)}, and neither pyarrow nor polars is there to write it"
            raise Refused("returned", message, "pip install pyarrow") from None
        polars.DataFrame(returned).write_parquet(file)
        return
    if isinstance(returned, pyarrow.RecordBatchReader):
        returned = returned.read_all()
    elif isinstance(returned, pyarrow.RecordBatch):
        returned = pyarrow.Table.from_batches([returned])
    elif not isinstance(returned, pyarrow.Table):
        if not hasattr(returned, "__arrow_c_stream__"):
            raise Refused("returned", f"returned {described(returned)}, which is not a table")
        returned = pyarrow.table(returned)
    pyarrow.parquet.write_table(returned, file)


def raised(error, work):
    """An exception as data: what it says, where it came from, and the file it is about."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(work + os.sep):
            frames.append(f"{frame.filename[len(work) + 1:]}:{frame.lineno} in {frame.name}: {frame.line}")
    if isinstance(error, Refused):
        return {"kind": error.kind, "message": str(error), "help": error.help, "frames": frames}
    if isinstance(error, SystemExit):
        return {"kind": "exited", "message": f"called `sys.exit({error.code!r})`", "frames": frames}
    said = "".join(traceback.format_exception_only(type(error), error)).strip()
    file = getattr(error, "filename", None)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    file = os.fsdecode(file) if isinstance(file, (str, bytes)) else None
    return {"kind": "raised", "message": said, "frames": frames, "file": file, "module": missing}


def main(request_file):
    request = json.loads(pathlib.Path(request_file).read_text())
    work = request["work"]
    os.chdir(work)
    # In place of this script's own folder.
    sys.path[0] = work
    os.environ.update(request["env"])
    sys.argv = [""]
    result = {"kind": "done"}
    try:
        call(request)
    except BaseException as error:
        result = raised(error, work)
        if not isinstance(error, (Refused, SystemExit)):
            print("\n".join(["Traceback (most recent call last):", *result["frames"], result["message"]]), file=sys.stderr)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    pathlib.Path(request["result"]).write_text(json.dumps(result))
