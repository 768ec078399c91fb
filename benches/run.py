#!/usr/bin/env python3
"""Times mlbuild beside other build tools, on equal work, and prints Markdown tables.

    benches/run.py start
    benches/run.py graph 1000 10000
    benches/run.py manifest 10000
    benches/run.py folder 100000
    benches/run.py big 4

`--mlbuild FILE` is the binary (target/release/mlbuild), `--work FOLDER` the place for the projects
(target/bench, on the file system that is measured), `--runs R` how often each tool runs (7). Of ninja, n2
and make, and of DVC for files, those take part that are on the PATH; `pip install ninja dvc` brings two.

The tools run in turn, once each a round, after one round that does not count, so that a machine that
does other things slows all of them alike: compare ratios. A figure is the median of wall time, of the CPU
time of the tool and all that it started, and of its peak memory.
"""
import argparse
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Run:
    """What one run took: seconds, seconds, megabytes."""

    def __init__(self, argv, folder):
        start = time.perf_counter()
        child = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        self.wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{argv} failed in {folder}:\n{errors.decode(errors='replace')[-2000:]}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss / 1024


def rounds(tools, runs, prepare=lambda tool, n: None, warm=1):
    """Runs every tool `runs` times, in turn; gives the runs by tool. `prepare` comes before each, and does not count."""
    took = {tool: [] for tool in tools}
    for n in range(runs + warm):
        for tool in tools:
            prepare(tool, n)
            run = Run(tool.build, tool.folder)
            if n >= warm:
                took[tool].append(run)
    return took


def report(title, took):
    """One table row a tool; the ratios are to the first."""
    def median(runs, what):
        return statistics.median(getattr(run, what) for run in runs)
    first = next(iter(took.values()))
    for tool, runs in took.items():
        wall, cpu = median(runs, "wall"), median(runs, "cpu")
        print(f"| {title} | {tool.name} | {1000 * wall:.1f} | {wall / median(first, 'wall'):.2f} "
              f"| {1000 * cpu:.1f} | {cpu / max(median(first, 'cpu'), 1e-4):.2f} | {median(runs, 'peak'):.0f} |", flush=True)


def header():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    print(f"\n{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load:.1f} at the start\n")
    print("| work | tool | wall ms | ratio | CPU ms | ratio | peak MB |\n|---|---|---|---|---|---|---|")


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def discard(path):
    """Moves a folder out of the way: deleting many files takes long on some disks."""
    if os.path.lexists(path):
        trash = os.path.join(WORK, "trash")
        os.makedirs(trash, exist_ok=True)
        os.rename(path, os.path.join(trash, f"{time.time_ns()}"))


# ------------------------------------------------------------------ the graph

def graph(n):
    """Sources, and targets as (name, inputs): layers about sqrt(n) wide; each target reads three of the layer before."""
    width = 3 * max(1, round(math.sqrt(n) / 3))
    sources = [f"src/s{i:04d}.txt" for i in range(width)]
    targets, before = [], sources
    while len(targets) < n:
        layer = len(targets) // width
        count = min(width, n - len(targets))
        names = [f"l{layer:03d}_{i:04d}" for i in range(count)]
        targets += [(name, before[i // 3 * 3:i // 3 * 3 + 3]) for i, name in enumerate(names)]
        before = names
    return sources, targets


class Tool:
    """A build tool with the graph as a project of its own: `files` writes it, `build` builds it, `state` is what it keeps."""
    state = []

    def __init__(self, n):
        self.folder = os.path.join(WORK, "graph", f"{self.name}-{n}")
        self.sources, self.targets = graph(n)
        discard(self.folder)
        for i, path in enumerate(self.sources):
            put(os.path.join(self.folder, path), f"source {i}\n")
        os.makedirs(os.path.join(self.folder, "out"))
        self.write()

    def path(self, name):
        return name if "/" in name else f"out/{name}"

    def change(self, text):
        put(os.path.join(self.folder, self.sources[len(self.sources) // 2]), text)

    def touch(self):
        os.utime(os.path.join(self.folder, self.sources[0]))

    def clean(self):
        for name in ["out", *self.state]:
            discard(os.path.join(self.folder, name))
        os.makedirs(os.path.join(self.folder, "out"))


class Mlbuild(Tool):
    name, state = "mlbuild", [".mlbuild"]

    def write(self):
        text = ['[project]\nname = "graph"\n']
        for name, inputs in self.targets:
            if "/" in inputs[0]:
                line, reads = f"cksum {' '.join('{src}/' + path for path in inputs)}", f"srcs = {inputs!r}"
            else:
                line = f"cksum {' '.join('{input:data:' + i + '}/sum' for i in inputs)}"
                reads = f"inputs = {['data:' + i for i in inputs]!r}"
            text.append(f'[data.{name}]\ncommand = "{line} > {{out}}/sum"\n' + reads.replace("'", '"') + "\n")
        put(os.path.join(self.folder, "mlbuild.toml"), "\n".join(text))
        self.build = [MLBUILD, "build", "-j", "2"]


class Ninja(Tool):
    name, state = "ninja", [".ninja_log", ".ninja_deps"]

    def write(self):
        lines = ["rule sum", "  command = cksum $in > $out"]
        lines += [f"build {self.path(t)}: sum {' '.join(map(self.path, ins))}" for t, ins in self.targets]
        put(os.path.join(self.folder, "build.ninja"), "\n".join(lines) + "\n")
        self.build = [self.name, "-j", "2"]


class N2(Ninja):
    name, state = "n2", [".n2_db"]


class Make(Tool):
    name = "make"

    def write(self):
        lines = [f"all: {' '.join(self.path(t) for t, _ in self.targets)}"]
        lines += [f"{self.path(t)}: {' '.join(map(self.path, ins))}\n\tcksum $^ > $@" for t, ins in self.targets]
        put(os.path.join(self.folder, "Makefile"), "\n".join(lines) + "\n")
        self.build = ["make", "-s", "-j", "2"]


def graph_workloads(n, runs):
    kinds = [Mlbuild] + [kind for kind in (Ninja, N2, Make) if shutil.which(kind.name)]
    tools = [kind(n) for kind in kinds]
    cold_runs = max(1, min(runs, 20000 // n))
    cold = rounds(tools, cold_runs, lambda tool, _: tool.clean(), warm=0)
    report(f"cold, {n} targets", cold)
    time.sleep(0.1)
    report(f"null, {n} targets", rounds(tools, runs, warm=3))
    report(f"touched, {n} targets", rounds(tools, runs, lambda tool, _: tool.touch()))
    report(f"one source changed, {n} targets", rounds(tools, runs, lambda tool, i: tool.change(f"change {i}\n")))


# ------------------------------------------------- one project, and its floors

class Floor:
    """A command that does no more than the work has to."""

    def __init__(self, name, build, folder):
        self.name, self.build, self.folder = name, build, folder


class Project:
    """A project of mlbuild's alone."""
    name = "mlbuild"

    def __init__(self, kind, manifest):
        self.folder = os.path.join(WORK, kind)
        discard(self.folder)
        put(os.path.join(self.folder, "mlbuild.toml"), '[project]\nname = "bench"\n\n' + manifest)
        self.build = [MLBUILD, "build", "data:read"]


class Dvc:
    """A folder of DVC's alone: it records what `raw` holds."""
    name = "dvc"

    def __init__(self, kind):
        self.folder = os.path.join(WORK, f"{kind}-dvc")
        discard(self.folder)
        os.makedirs(self.folder)
        self.build = ["dvc", "init", "-q", "--no-scm"]
        Run(self.build, self.folder)

    def add(self, what):
        self.build = ["dvc", "add", "-q", what]

    def look(self):
        self.build = ["dvc", "status", "-q"]


def folder_workloads(n, runs):
    tool = Project("folder", '[data.files]\npath = "raw"\nformat = "files"\n\n'
                   '[data.read]\ncommand = "ls {input:data:files}/raw | wc -l > {out}/count"\ninputs = ["data:files"]\n')
    others = [Dvc("folder")] if shutil.which("dvc") else []
    for used in [tool, *others]:
        for i in range(n):
            put(os.path.join(used.folder, f"raw/{i // 1000:03d}/{i:06d}"), f"{i:0200d}\n")
    floor = Floor("find -printf %s", ["find", "raw", "-type", "f", "-printf", "%s"], tool.folder)
    for other in others:
        other.add("raw")
    report(f"{n} files, added", rounds([tool, *others], 1, warm=0))
    time.sleep(0.1)
    for other in others:
        other.look()
    report(f"{n} files, null", rounds([tool, floor, *others], runs, warm=3))
    for other in others:
        other.add("raw")

    def change(used, i):
        put(os.path.join(used.folder, "raw/000/000000"), f"change {i}\n")
    report(f"{n} files, one changed", rounds([tool, *others], min(runs, 3), change))


def big_workloads(gib, runs):
    tool = Project("big", '[data.file]\npath = "raw/file"\nformat = "files"\n\n'
                   '[data.read]\ncommand = "wc -c {input:data:file}/raw/file > {out}/count"\ninputs = ["data:file"]\n')
    others = [Dvc("big")] if shutil.which("dvc") else []
    file = os.path.join(tool.folder, "raw/file")
    for used in [tool, *others]:
        os.makedirs(os.path.join(used.folder, "raw"))
        with open(os.path.join(used.folder, "raw/file"), "wb") as out:
            block = os.urandom(1 << 20)
            for i in range(gib << 10):
                out.write(i.to_bytes(8, "little") + block[8:])
    for other in others:
        other.add("raw/file")
    floors = [Floor("cat", ["cat", file], tool.folder), Floor("cp", ["cp", file, file + ".copy"], tool.folder)]

    def forget(used, _):
        if used is tool:
            discard(os.path.join(tool.folder, ".mlbuild"))
            discard(os.path.join(tool.folder, "out"))
        elif used in others:
            for kept in [".dvc/cache", ".dvc/tmp", "raw/file.dvc"]:
                discard(os.path.join(used.folder, kept))
        elif used is floors[1]:
            if os.path.exists(file + ".copy"):
                os.remove(file + ".copy")
        shutil.rmtree(os.path.join(WORK, "trash"), ignore_errors=True)
    report(f"{gib} GiB, added", rounds([tool, *floors, *others], min(runs, 3), forget))
    time.sleep(0.1)
    for other in others:
        other.look()
    report(f"{gib} GiB, null", rounds([tool, *others], runs, warm=3))


def manifest_workloads(n, runs):
    tool = Mlbuild(n)
    tool.build = [MLBUILD, "ls"]
    report(f"ls of {n} targets", rounds([tool], runs))


def start_workloads(runs):
    os.makedirs(WORK, exist_ok=True)
    others = [name for name in ("ninja", "n2", "make") if shutil.which(name)]
    tools = [Floor(name, [program, "--version"], WORK) for name, program in
             [("mlbuild", MLBUILD), ("true", "true"), *((name, name) for name in others)]]
    report("--version", rounds(tools, max(runs, 21)))


def main():
    global MLBUILD, WORK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["start", "graph", "manifest", "folder", "big"])
    parser.add_argument("sizes", type=int, nargs="*")
    parser.add_argument("--mlbuild", default=os.path.join(ROOT, "target/release/mlbuild"))
    parser.add_argument("--work", default=os.path.join(ROOT, "target/bench"))
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    MLBUILD, WORK = os.path.abspath(asked.mlbuild), os.path.abspath(asked.work)
    if not os.access(MLBUILD, os.X_OK):
        sys.exit(f"there is no {MLBUILD}: cargo build --release --locked -p mlbuild")
    header()
    if asked.workload == "start":
        return start_workloads(asked.runs)
    workload = globals()[f"{asked.workload}_workloads"]
    default = {"graph": [1000], "manifest": [10000], "folder": [100000], "big": [4]}
    for size in asked.sizes or default[asked.workload]:
        workload(size, asked.runs)


if __name__ == "__main__":
    main()
