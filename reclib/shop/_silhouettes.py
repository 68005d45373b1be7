"""Silhouettes and patterns of which `reclib.shop.media` makes pictures.

A silhouette is a list of parts laid one over the other, in hundredths of a unit: x to the right, y
down, the product within about one unit of its centre. Each part is drawn four times too large,
smoothed, and lit as a puffed-up cushion, so that no part needs a shading of its own.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Floats = NDArray[np.float32]

SIDE = 192  # pixels a side of a stored silhouette
REACH = 1.25  # units from its centre to its edge
_OVER = 4  # outlines are drawn this many times larger
_LIGHT = (-0.5, -0.7, 0.9)  # towards the light: left, up, in front


class _Part(NamedTuple):
    """One part of a silhouette.

    Attributes:
        tone: ``fill`` takes colour and pattern, ``plain`` colour only, ``accent`` neither; a
            ``crease`` only darkens what lies below it.
        kind: ``poly``, ``blob`` (a polygon with rounded corners), ``oval`` or ``box`` (two
            corners), or ``line``.
        points: x and y of each point.
        size: width of a line or of an oval's rim, corner radius of a box.
        mirror: ``half`` if the points are the right half of an outline, top to bottom; ``pair``
            if the part comes twice, left and right.
    """

    tone: str
    kind: str
    points: str
    size: int = 0
    mirror: str = ""


SILHOUETTES: dict[str, tuple[_Part, ...]] = {
    "top": (
        _Part("fill", "blob", "36 -76  62 -68  102 -10  72 10  40 -30", mirror="pair"),
        _Part("fill", "poly", "0 -56  24 -80  50 -70  50 86  0 88", mirror="half"),
        _Part("accent", "line", "-25 -79  -14 -60  0 -53  14 -60  25 -79", 8),
        _Part("crease", "line", "-50 74  50 74", 3),
    ),
    "trousers": (
        _Part("fill", "poly", "0 -66  47 -66  58 90  16 90  0 -5", mirror="pair"),
        _Part("plain", "box", "-48 -90  48 -64", 4),
        _Part("accent", "oval", "-6 -83  6 -71"),
        _Part("crease", "line", "0 -62  0 -10", 3),
        _Part("crease", "line", "46 -40  26 -62", 3, "pair"),
    ),
    "dress": (
        _Part("fill", "poly", "0 -10  25 -10  78 78  60 90  40 84  20 93  0 87", mirror="half"),
        _Part("fill", "poly", "0 -50  14 -58  20 -92  33 -92  38 -52  27 -6  0 -6", mirror="half"),
        _Part("accent", "line", "-26 -10  26 -10", 10),
        _Part("crease", "line", "12 0  32 80", 3, "pair"),
    ),
    "shoe": (
        _Part(
            "fill",
            "blob",
            "-92 46  -90 0  -94 -50  -66 -50  -44 -30  -24 -56  4 -44  24 -12  66 4  100 20  98 46",
        ),
        _Part("plain", "blob", "50 46  56 6  78 6  100 20  98 46"),
        _Part("accent", "box", "-98 36  103 60", 11),
        _Part("accent", "line", "-16 -22  6 -40", 7),
        _Part("accent", "line", "-2 -6  20 -22", 7),
        _Part("accent", "line", "14 8  34 -6", 7),
    ),
    "bag": (
        _Part("accent", "line", "-40 -20  -36 -66  -18 -88  18 -88  36 -66  40 -20", 11),
        _Part("fill", "blob", "0 -36  70 -36  86 30  88 86  0 86", mirror="half"),
        _Part("plain", "blob", "0 -38  72 -38  74 4  30 20  0 20", mirror="half"),
        _Part("accent", "box", "-12 8  12 32", 5),
    ),
    "round": (
        _Part("fill", "oval", "-92 -92  92 92"),
        _Part("crease", "oval", "-66 -66  66 66", 4),
        _Part("plain", "oval", "-42 -42  42 42"),
    ),
    "pot": (
        _Part("accent", "line", "60 -2  92 -2  92 26  60 26", 11, "pair"),
        _Part("fill", "blob", "0 -22  70 -22  72 30  66 80  0 82", mirror="half"),
        _Part("plain", "blob", "0 -62  34 -58  74 -34  80 -18  0 -18", mirror="half"),
        _Part("accent", "oval", "-14 -84  14 -56"),
    ),
    "lamp": (
        _Part("accent", "line", "0 0  0 86", 12),
        _Part("accent", "blob", "0 74  30 78  46 92  0 94", mirror="half"),
        _Part("fill", "poly", "0 -90  38 -90  80 22  0 28", mirror="half"),
        _Part("crease", "line", "-74 12  74 12", 3),
    ),
    "textile": (
        _Part("fill", "box", "-94 34  94 80", 20),
        _Part("plain", "box", "-90 -8  90 38", 20),
        _Part("fill", "box", "-86 -62  86 -4", 22),
        _Part("crease", "line", "-86 -34  50 -34  62 -26", 3),
        _Part("crease", "line", "-90 15  56 15  66 20", 3),
        _Part("crease", "line", "-94 57  60 57  70 62", 3),
    ),
    "furniture": (
        _Part("accent", "line", "72 55  76 94", 11, "pair"),
        _Part("fill", "box", "-68 -90  68 40", 26),
        _Part("crease", "line", "0 -84  0 10", 3),
        _Part("plain", "box", "-60 8  60 50", 12),
        _Part("plain", "box", "-60 42  60 66", 6),
        _Part("fill", "box", "54 -16  94 62", 18, "pair"),
    ),
    "tool": (  # a spade, leaning to the right
        _Part("accent", "line", "42 -62  -6 8", 15),
        _Part("plain", "line", "36 -53  37 -93  74 -69  36 -53", 13),
        _Part("fill", "blob", "42 27  -42 -30  -65 4  -78 51  -63 92  -19 92  20 62"),
        _Part("crease", "line", "-3 5  -35 51", 5),
    ),
    "box": (
        _Part("fill", "poly", "-80 -30  80 -30  76 84  -76 84"),
        _Part("plain", "box", "-90 -62  90 -22", 6),
        _Part("accent", "box", "-18 -36  18 0", 5),
        _Part("crease", "line", "-78 68  78 68", 3),
    ),
}


def _outlines(part: _Part) -> list[NDArray[np.float64]]:
    """(n, 2) points of a part, in units; two outlines if it is a pair."""
    points = np.array(part.points.split(), dtype=np.float64).reshape(-1, 2) / 100
    mirrored = points * (-1, 1)
    if part.mirror == "half":
        return [np.concatenate([points, mirrored[::-1]])]
    if part.mirror == "pair" and part.kind == "box":
        mirrored[:, 0] = mirrored[::-1, 0]  # the left corner stays the first
    return [points, mirrored] if part.mirror == "pair" else [points]


@cache
def sprite(shape: str, pattern: str, side: int) -> tuple[Image.Image, Image.Image]:
    """A silhouette as light, ink, accent and outline in one CMYK picture, and its shadow.

    CMYK, as it has four channels; Pillow would multiply the colours of RGBA by the fourth.
    Both have ``side`` pixels a side, which divides `SIDE`.
    """
    mask, shade, fill, accent = _silhouette(shape)
    layers = np.stack([shade / 2, _ink(pattern) * fill, accent, mask], axis=-1)
    pixels = np.rint(255 * np.clip(layers, 0, 1)).astype(np.uint8)
    image = Image.fromarray(pixels, "CMYK")
    return image.reduce(SIDE // side), _shadow(shape).reduce(SIDE // side)


@cache
def _shadow(shape: str) -> Image.Image:
    mask = _silhouette(shape)[0]
    unit = SIDE / (2 * REACH)
    below = ndimage.shift(mask, (0.09 * unit, 0.04 * unit), order=1)
    return Image.fromarray(np.rint(255 * ndimage.gaussian_filter(below, 0.11 * unit)).astype("u1"))


@cache
def _silhouette(shape: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Outline, light (1 = unchanged), where pattern goes, and accent; each (SIDE, SIDE)."""
    mask, fill, accent = (np.zeros((SIDE, SIDE), np.float32) for _ in range(3))
    shade = np.ones_like(mask)
    parts = [(part, points) for part in SILHOUETTES[shape] for points in _outlines(part)]
    for part, points in parts:
        drawn = _drawn(part, points)
        if part.tone == "crease":
            shade *= 1 - 0.28 * drawn
            continue
        # What lies above throws a little shadow on what lies below.
        shade *= 1 - 0.3 * ndimage.gaussian_filter(drawn, 0.02 * SIDE)
        shade += drawn * (_light(drawn) - shade)
        mask = np.maximum(mask, drawn)
        fill += drawn * ((part.tone == "fill") - fill)
        accent += drawn * ((part.tone == "accent") - accent)
    down = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)[:, None]
    return mask, (shade * (1.02 - 0.07 * down)).astype(np.float32), fill, accent


def _drawn(part: _Part, outline: NDArray[np.float64]) -> Floats:
    """Coverage in [0, 1] of one outline of a part, (SIDE, SIDE)."""
    size = SIDE * _OVER
    scale = size / (2 * REACH)
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    points = [(float(x), float(y)) for x, y in (outline + REACH) * scale]
    width = round(part.size / 100 * scale)
    if part.kind == "oval" and width:
        draw.ellipse((*points[0], *points[1]), outline=255, width=width)
    elif part.kind == "oval":
        draw.ellipse((*points[0], *points[1]), fill=255)
    elif part.kind == "box":
        draw.rounded_rectangle((*points[0], *points[1]), radius=width, fill=255)
    elif part.kind == "line":
        draw.line(points, fill=255, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.circle((x, y), width / 2, fill=255)
    else:
        draw.polygon(_rounded(points, 3 if part.kind == "blob" else 0), fill=255)
    return np.asarray(image.reduce(_OVER), dtype=np.float32) / np.float32(255)


def _rounded(points: list[tuple[float, float]], n_rounds: int) -> list[tuple[float, float]]:
    """Chaikin's corner cutting: each round replaces a corner by points at 1/4 and 3/4."""
    outline = np.array(points)
    for _ in range(n_rounds):
        following = np.roll(outline, -1, axis=0)
        cuts = [0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following]
        outline = np.stack(cuts, axis=1).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in outline]


def _light(drawn: Floats) -> Floats:
    """Lambert's law on a cushion of that outline; 1 where the surface faces the onlooker."""
    bevel = 0.22 * SIDE / (2 * REACH)
    inside = np.minimum(ndimage.distance_transform_edt(drawn > 0.5) / bevel, 1)
    height = ndimage.gaussian_filter(np.sqrt(1 - (1 - inside) ** 2) * bevel * 0.6, 1.5)
    slope_y, slope_x = np.gradient(height)
    x, y, z = np.array(_LIGHT) / np.linalg.norm(_LIGHT)
    facing = (z - x * slope_x - y * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return (1 + 0.55 * (facing - z)).astype(np.float32)


@cache
def _ink(pattern: str) -> Floats:
    """How much of the second colour a pattern lays on, in [0, 1], (SIDE, SIDE)."""
    axis = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)
    y, x = axis[:, None], axis[None, :]
    wave = 2 * np.pi / 0.29  # a period of 12 pixels of the canvas at the mean radius of 41

    def stripes(along: Floats) -> Floats:
        return np.clip(0.5 + 1.6 * np.sin(wave * along), 0, 1)

    if pattern == "vertical stripe":
        ink = stripes(x) + 0 * y
    elif pattern == "horizontal stripe":
        ink = stripes(y) + 0 * x
    elif pattern == "check":
        ink = (stripes(0.7 * x) + stripes(0.7 * y)) / 2
    elif pattern == "diagonal":
        ink = stripes((x + y) / np.sqrt(2))
    elif pattern == "dots":
        grid = 0.39  # 16 pixels at the mean radius; every second row is shifted by half
        row = np.floor(y / grid)
        across = (x / grid + 0.5 * (row % 2)) % 1 - 0.5
        away = np.hypot(across, y / grid - row - 0.5) * grid
        ink = np.clip(0.5 + (0.105 - away) / 0.02, 0, 1)
    else:
        ink = 0 * x * y
    return ink.astype(np.float32)
