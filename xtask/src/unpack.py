"""Unpacks from the wheels in one folder what a CPU-only libtorch needs. Usage: unpack.py WHEELS DESTINATION"""

import fnmatch
import pathlib
import sys
import zipfile

KEEP = [
    "torch/include/*",
    "torch/lib/libc10.so*",
    "torch/lib/libgomp*.so*",
    "torch/lib/libtorch_cpu.so*",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
]

wheels, destination = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in KEEP):
                archive.extract(name, destination)
