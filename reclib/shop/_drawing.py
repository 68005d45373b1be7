"""From a silhouette to pixels: place it, color it, light it, and put it before a background."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from reclib.shop._silhouettes import REACH, sprite

Floats = NDArray[np.float32]

CANVAS = 128  # pixels a side of the canvas a product is placed on

COLOR_RGB: dict[str, tuple[int, int, int]] = {
    "black": (38, 38, 42),
    "white": (240, 239, 235),
    "blue": (58, 122, 204),
    "brown": (122, 80, 50),
    "grey": (146, 149, 154),
    "red": (206, 52, 50),
    "green": (66, 146, 84),
    "pink": (238, 142, 172),
    "navy": (34, 50, 104),
    "beige": (217, 197, 162),
    "yellow": (240, 200, 62),
    "purple": (126, 76, 164),
}
# Left halves of brand marks, eight bits each; with fewer than three set they look like dirt.
_MARKS = tuple(bits for bits in range(256) if 3 <= bits.bit_count() <= 6)
_N_HUES = 8
N_MARKS = len(_MARKS) * _N_HUES  # different brand marks: 1,680
N_ROOMS = 5  # different lifestyle backgrounds


def placed(
    shape: str,
    pattern: str,
    centre: tuple[float, float],
    radius: float,
    angle: float,
    size: int,
) -> tuple[Floats, Floats]:
    """Layers (size, size, 4) and shadow (size, size) in 0..255 of a moved silhouette.

    Args:
        shape: a name of `reclib.shop._silhouettes.SILHOUETTES`.
        pattern: a name of `reclib.shop._words.PATTERNS`.
        centre: pixels of the canvas to the right of and below its middle.
        radius: pixels of the canvas to one unit.
        angle: radians, clockwise.
        size: pixels a side of what comes out, 64 or 32.
    """
    image, shadow = sprite(shape, pattern, 3 * size)
    double = _moved(image, centre, radius, angle, 2 * size).reduce(2)
    behind = _moved(shadow, centre, radius, angle, size)  # blurred: it needs no doubling
    return np.asarray(double, dtype=np.float32), np.asarray(behind, dtype=np.float32)


def _moved(
    image: Image.Image, centre: tuple[float, float], radius: float, angle: float, size: int
) -> Image.Image:
    side, shrink = image.width, size / CANVAS
    zoom = side / (2 * REACH) / (radius * shrink)  # pixels of ``image`` for one of the result
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    x, y = size / 2 + centre[0] * shrink, size / 2 + centre[1] * shrink
    # Pillow asks, for each pixel of the result, where it comes from.
    matrix = (cos, sin, side / 2 - cos * x - sin * y, -sin, cos, side / 2 + sin * x - cos * y)
    return image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def composed(layers: Floats, shadow: Floats, fill: Floats, background: Floats) -> Floats:
    """(S, S, 3) in 0..255: a placed silhouette of colour ``fill`` on a background (S, S, 3)."""
    light, ink, accent, mask = (layers[..., k, None] for k in range(4))
    pixels = fill + ink * ((ink_rgb(fill) - fill) / 255)
    pixels += accent * ((accent_rgb(fill) - pixels) / 255)
    # Light scales a colour, and lifts it a little, or black would have no form.
    pixels += (light * np.float32(2 / 255) - 1) * (pixels + 24)
    behind = background * (1 - shadow[..., None] * np.float32(0.38 / 255))
    behind += mask * ((pixels - behind) / 255)
    return behind


def stamp(pixels: Floats, brand: int) -> None:
    """Put a brand's mark of 8 x 8 pixels into the lower right corner of ``pixels`` (S, S, 3)."""
    cells, color = mark(brand)
    size = len(pixels)
    scale = max(8 * size // 64, 4)
    corner = pixels[size - scale - 2 : size - 2, size - scale - 2 : size - 2]
    cells = cells[:: 8 // scale, :: 8 // scale]
    corner[cells] = color


def ink_rgb(fill: Floats) -> Floats:
    """The second colour of a pattern on a fill colour: light on dark, dark on light."""
    luminance = float(fill @ np.array([0.3, 0.59, 0.11], np.float32))
    if luminance < 160:
        return 0.3 * fill + 0.7 * np.float32(250)
    return 0.4 * fill + 0.6 * np.float32(70)


def accent_rgb(fill: Floats) -> Floats:
    """Colour of soles, handles and stems: it follows from the fill and tells nothing more."""
    light = float(fill.mean()) < 130
    return np.array((206, 186, 158) if light else (104, 88, 78), np.float32)


@cache
def rooms(size: int) -> tuple[Floats, ...]:
    """`N_ROOMS` lifestyle backgrounds (size, size, 3) in 0..255; ``size`` divides `CANVAS`."""
    y, x = np.mgrid[0 : 1 : CANVAS * 1j, 0 : 1 : CANVAS * 1j]
    generator = np.random.Generator(np.random.PCG64(0))
    grain = ndimage.gaussian_filter(generator.normal(size=(CANVAS, CANVAS)), (0.7, 9))
    cloud = ndimage.gaussian_filter(generator.normal(size=(CANVAS, CANVAS)), 7)
    grain, cloud = grain / grain.std(), cloud / cloud.std()
    wall = 1 - 0.08 * y + 0.03 * np.exp(-4 * ((x - 0.25) ** 2 + (y - 0.2) ** 2))
    boards = 1 - 0.12 * (np.abs((y * 6) % 1 - 0.5) > 0.47) + 0.025 * grain
    tiles = 1 - 0.07 * ((np.abs((y * 5) % 1 - 0.5) > 0.46) | (np.abs((x * 5) % 1 - 0.5) > 0.46))
    weave = 1 + 0.02 * np.sin(x * 260) + 0.02 * np.sin(y * 260) + 0.01 * cloud
    window = 1 + 0.06 * ((np.abs(x - 0.35 + 0.3 * y) < 0.16) | (np.abs(x - 0.78 + 0.3 * y) < 0.16))
    floor = y > 0.72
    views = (
        (np.where(floor, boards, wall), (226, 216, 204), (212, 188, 158), floor),
        (tiles * wall, (222, 230, 228), (222, 230, 228), floor),
        (weave * wall, (232, 224, 212), (232, 224, 212), floor),
        (ndimage.gaussian_filter(window, 3) * wall, (228, 222, 214), (206, 204, 200), floor),
        (1 + 0.022 * cloud + 0.012 * grain, (226, 226, 228), (226, 226, 228), floor),
    )
    step = CANVAS // size
    large = (
        light[..., None] * np.where(low[..., None], down, up) for light, up, down, low in views
    )
    return tuple(
        np.clip(room.reshape(size, step, size, step, 3).mean((1, 3)), 0, 250).astype(np.float32)
        for room in large
    )


def mark(brand: int) -> tuple[NDArray[np.bool_], Floats]:
    """A brand's mark: (8, 8) cells that are inked, and their colour; `N_MARKS` are different."""
    number = brand * 1_009 % N_MARKS  # 1,009 shares no factor with N_MARKS: each mark once
    bits = (_MARKS[number % len(_MARKS)] >> np.arange(8)) & 1
    half = bits.reshape(4, 2).astype(bool)
    cells = np.hstack([half, half[:, ::-1]]).repeat(2, axis=0).repeat(2, axis=1)
    hue = 2 * np.pi * (number // len(_MARKS)) / _N_HUES
    turns = np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])
    return cells, (100 + 55 * np.cos(hue - turns)).astype(np.float32)
