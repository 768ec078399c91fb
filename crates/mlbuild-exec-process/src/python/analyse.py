"""Answers questions about this interpreter and about Python code, one line of JSON each. Imports none of the code.

A question is a line `probe`, or a line `analyse N` and then N bytes of source code. Ends with its standard input.
"""

import ast
import importlib.metadata
import inspect
import json
import os
import re
import sys
import sysconfig
import warnings


def probe():
    """What this interpreter is, where it keeps packages, and which are there."""
    if sys.version_info < (3, 10):
        return {"identity": identity(), "too_old": True}
    versions, modules, editable = {}, {}, []
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or normalized(name) in versions:
            continue
        name = normalized(name)
        versions[name] = distribution.version
        if is_editable(distribution):
            editable.append(name)
        for module in top_level(distribution):
            modules.setdefault(module, []).append(name)
    library = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    sites = [path for path in sys.path if os.path.isdir(path)]
    sites = [path for path in sites if not is_library(os.path.realpath(path), library)]
    return {
        "identity": identity(),
        "executable": sys.executable,
        "prefixes": sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *library}),
        "sites": sites,
        "stdlib": sorted(sys.stdlib_module_names),
        "modules": modules,
        "versions": versions,
        "editable": editable,
    }


def identity():
    threads = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{sys.implementation.name} {sys.version.split()[0]}{threads}"


def is_library(path, library):
    return path in library or os.path.dirname(path) in library and path.endswith("lib-dynload")


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def is_editable(distribution):
    origin = distribution.read_text("direct_url.json")
    return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))


def top_level(distribution):
    """The modules that can be imported from a distribution, without what lies below them."""
    listed = distribution.read_text("top_level.txt")
    if listed:
        return sorted({name.split("/")[0] for name in listed.split()})
    names = set()
    for file in distribution.files or ():
        first = file.parts[0]
        names.add(inspect.getmodulename(first) if len(file.parts) == 1 else first)
    return sorted(name for name in names if name and name.isidentifier() and name != "__pycache__")


def analyse(source):
    """What a file imports, and the parts of its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        imports, dynamic = all_imports(tree)
        bound, is_open = bound_names(tree)
        implied = [name for node in ast.walk(tree) for name in IMPLIED.get(getattr(node, "attr", None), ())]
        return {
            "imports": imports,
            "dynamic": dynamic,
            "bound": bound,
            "open": is_open,
            "all": exported(tree),
            "implied": sorted(set(implied)),
            "parts": parts(tree),
        }
    except SyntaxError as error:
        return {"broken": {"line": error.lineno or 1, "message": error.msg}}
    except (RecursionError, ValueError) as error:
        return {"broken": {"line": 1, "message": str(error)}}


# Methods of inputs that import a package which the code need not name.
IMPLIED = {"to_pandas": ("pandas", "pyarrow"), "to_polars": ("polars",), "to_pyarrow": ("pyarrow",)}

# What imports a module that is named by a value, and where it comes from.
LOADERS = {"import_module", "__import__", "spec_from_file_location", "run_path", "run_module", "load_source"}
LOADER_MODULES = {"importlib", "importlib.util", "runpy", "imp", "builtins"}


def all_imports(tree):
    """Every import, and every one whose module only shows when it runs."""
    optional = optional_lines(tree)
    imports, dynamic, modules, functions = [], [], set(), {"__import__": "__import__"}

    def add(module, names, level, node):
        is_optional = any(first <= node.lineno <= last for first, last in optional)
        found = {"module": module, "names": names, "level": level, "line": node.lineno, "optional": is_optional}
        imports.append(found)

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name, [], 0, node)
                if alias.name in LOADER_MODULES:
                    modules.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            add(node.module or "", [alias.name for alias in node.names], node.level, node)
            for alias in node.names:
                if node.module in LOADER_MODULES and alias.name in LOADERS:
                    functions[alias.asname or alias.name] = alias.name
                if node.module == "importlib" and alias.name == "util":
                    modules.add(alias.asname or alias.name)

    def loader(node):
        if isinstance(node, ast.Name):
            return functions.get(node.id)
        if isinstance(node, ast.Attribute) and node.attr in LOADERS and root_name(node) in modules:
            return node.attr
        return None

    literal = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and loader(node.func) in ("import_module", "__import__"):
            named = literal_module(node, loader(node.func))
            if named:
                literal.add(node.func)
                add(named[0], [], named[1], node)
    for node in ast.walk(tree):
        if loader(node) and node not in literal and isinstance(getattr(node, "ctx", None), ast.Load):
            dynamic.append({"line": node.lineno, "code": ast.unparse(node)})
    return imports, dynamic


def root_name(node):
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", None)


def literal_module(call, function):
    """The module and level that a call names in so many words."""
    if not call.args or not isinstance(call.args[0], ast.Constant) or not isinstance(call.args[0].value, str):
        return None
    name = call.args[0].value
    level = len(name) - len(name.lstrip("."))
    others = call.args[1:] + [keyword.value for keyword in call.keywords]
    if level == 0:
        return (name, 0) if function == "import_module" or not others else None
    if function == "import_module" and len(others) == 1:
        package = others[0]
        if isinstance(package, ast.Name) and package.id == "__package__":
            return name[level:], level
        if isinstance(package, ast.Constant) and isinstance(package.value, str):
            base = package.value.split(".")
            base = base[: len(base) - level + 1]
            return ".".join([*base, name[level:]]), 0
    return None


def optional_lines(tree):
    """Where an import may fail: lines guarded against ImportError, and those only type checkers read."""
    lines = []
    for node in ast.walk(tree):
        body = None
        if isinstance(node, ast.Try) and any(catches(handler.type) for handler in node.handlers):
            body = node.body
        elif isinstance(node, ast.With) and any(suppresses(item.context_expr) for item in node.items):
            body = node.body
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in (getattr(node.test, "id", ""), getattr(node.test, "attr", "")):
            body = node.body
        if body:
            lines.append((body[0].lineno, body[-1].end_lineno))
    return lines


def catches(what):
    if what is None:
        return True
    if isinstance(what, ast.Tuple):
        return any(catches(one) for one in what.elts)
    return getattr(what, "id", "") in ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


def suppresses(call):
    function = getattr(call, "func", None)
    named = getattr(function, "id", "") == "suppress" or getattr(function, "attr", "") == "suppress"
    return named and any(catches(argument) for argument in call.args)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def outside_definitions(tree):
    """Every node that is not inside a function or class."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


def bound_names(tree):
    """The names that the module has, and whether it may have more."""
    bound, is_open = set(), False
    for node in outside_definitions(tree):
        if isinstance(node, DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    is_open = "*" in bound or "__getattr__" in bound
    return sorted(bound - {"*"}), is_open


def exported(tree):
    """The names that `from package import *` imports."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            values = getattr(node.value, "elts", [])
            return [item.value for item in values if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return []


def parts(tree):
    """The code of each function and class of the module, and of all else under the empty name.

    Comments, layout and docstrings are left out; docstrings stay where the file reads them.
    """
    if not any("__doc__" in (getattr(node, "id", ""), getattr(node, "attr", "")) for node in ast.walk(tree)):
        drop_docstrings(tree)
    names = [node.name for node in tree.body if isinstance(node, DEFINITIONS)]
    found, rest = {}, []
    for node in tree.body:
        if not isinstance(node, DEFINITIONS):
            rest.append(dump(node))
            continue
        kind = "class" if isinstance(node, ast.ClassDef) else "function"
        before = found.get(node.name, (kind, ""))[1]
        found[node.name] = (kind, before + dump(node))
        if runs_when_defined(node) or names.count(node.name) > 1:
            rest.append("here " + node.name)
    found[""] = ("statements", "\n".join(rest))
    return {name: {"kind": kind, "code": code} for name, (kind, code) in found.items()}


def runs_when_defined(node):
    """Whether a definition does something where it stands, so that its place among the other statements matters."""
    if isinstance(node, ast.ClassDef) or node.decorator_list:
        return True
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    return any(default is not None and not isinstance(default, ast.Constant) for default in defaults)


def drop_docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *DEFINITIONS)) and ast.get_docstring(node, clean=False) is not None:
            empty = [] if isinstance(node, ast.Module) else [ast.Pass()]
            node.body = node.body[1:] or empty


def dump(node):
    """A node as text. Empty fields are left out, so that a newer Python's additional ones do not show."""
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {ascii(node.value)}"
    if isinstance(node, ast.MatchSingleton):
        return f"MatchSingleton {ascii(node.value)}"
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        shown = [f"{name}={dump(value)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({','.join(shown)})"
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    return ascii(node)


def main():
    sys.setrecursionlimit(20_000)
    questions, answers = sys.stdin.buffer, sys.stdout
    while question := questions.readline().split():
        answer = probe() if question[0] == b"probe" else analyse(questions.read(int(question[1])))
        print(json.dumps(answer), file=answers, flush=True)


main()
