"""Holds the light picture of a page to be bright, the dark one to be dark, and both to show more than one colour."""

import sys

import numpy
from PIL import Image

light, dark = (numpy.asarray(Image.open(path).convert("L"), dtype=float) for path in sys.argv[1:])
assert light.mean() > 200, f"the light page has a mean brightness of {light.mean():.0f}"
assert dark.mean() < 70, f"the dark page has a mean brightness of {dark.mean():.0f}"
for image in (light, dark):
    assert image.std() > 8, "the page shows one colour"
print(f"brightness {light.mean():.0f} in light, {dark.mean():.0f} in dark")
