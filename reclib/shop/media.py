"""Pictures, jingles and clips of the simulated shop, drawn from the products' codes when asked for.

    pixel = mask * light * colour + (1 - mask) * background + N(0, 4^2)
    sound(t) = sum_h h^-(1 + .3 material) sin(2 pi h f t) exp(-(4 + material) t) + N(0, .02^2)

Each modality shows some attributes and hides the others (`MEDIA_ATTRIBUTES`), so no modality is
enough. A hidden attribute can still be guessed as far as the catalogue ties it to a shown one: a
brand has a tier, a department its materials.

The random stream of a product depends on (seed, domain, kind, product) only: whatever is drawn
alone equals its row in a batch, and one kind never changes another.

Source: the specification of the shop, section 1.4.

Differences from the specification:
    1. Every clip shows the same eight poses in three acts (pan, zoom, turn), and an attribute
       sets the *direction* of its act: value tier pans to the right, all others to the left;
       premium comes closer, all others go away; sporty turns clockwise, all others back. There: a
       sporty product rotates, a premium one is zoomed, a value one panned; then a set of frames
       without order would still tell the tier.
    2. The speed of a clip is its own; there: proportional to the price percentile. Price goes
       with tier, so shuffled frames would tell the tier.
    3. Styles 4 and 5 play the arpeggio downwards; there: rotated only, so of six styles two pairs
       would sound alike.
    4. Stripes have a period of 12 pixels of the 128 that a product is drawn on; there: 10.

Chapter: shop/simulation.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from reclib.shop import _drawing as drawing
from reclib.shop import _sound as sound
from reclib.shop import _words as words
from reclib.shop._row_cache import cached_rows
from reclib.shop._visible import CODES, COLOR_NOISE, MEDIA_ATTRIBUTES, NAMES, bayes_ceiling

__all__ = ["MEDIA_ATTRIBUTES", "Media", "bayes_ceiling", "cached_pictures"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

PICTURE = 64  # pixels a side of a picture
FRAME = 32  # pixels a side of a clip's frame
N_FRAMES = 8
_PIXEL_NOISE = 4.0
_LIFESTYLE_SHARE = 0.2


@dataclass(frozen=True)
class _Look:
    """How one product stands before the camera."""

    fill: Floats  # (3,) colour in 0..255
    x: float  # centre, pixels of the canvas from its middle
    y: float
    radius: float  # pixels of the canvas
    angle: float  # radians, clockwise
    room: int  # which lifestyle background, -1 for none
    backdrop: float  # brightness of the plain background's upper edge, in 0..255


class Media:
    """What a product looks and sounds like.

    Args:
        codes: (I,) integers for each of ``shape colour pattern material style tier brand leaf``;
            the first six index the lists of `reclib.shop._words`.
        leaf_names: name of each leaf, for text alternatives.
        seed: integer >= 0.
        domain: name of the shop's domain; part of the random streams.

    Raises:
        KeyError: if a code is missing.
        ValueError: if the seed is no integer >= 0, or codes are no integers in their range or
            differ in length.
    """

    def __init__(
        self,
        codes: Mapping[str, ArrayLike],
        leaf_names: tuple[str, ...] | list[str],
        *,
        seed: int = 0,
        domain: str = "home",
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer at least 0, got {seed!r}")
        missing = [name for name in CODES if name not in codes]
        if missing:
            raise KeyError(f"codes must have {', '.join(CODES)}, missing {', '.join(missing)}")
        self.seed, self.domain, self.leaf_names = seed, domain, tuple(leaf_names)
        self._codes = {name: _checked(name, codes[name], self._size(name)) for name in CODES}
        lengths = {name: len(values) for name, values in self._codes.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"codes must have one length, got {lengths}")
        self.n_items = lengths["shape"]

    def _size(self, name: str) -> int:
        if name == "leaf":
            return len(self.leaf_names)
        return len(NAMES[name]) if name in NAMES else drawing.N_MARKS

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the pictures: what they show, seed, domain, code."""
        names = [NAMES[name] for name in ("shape", "colour", "pattern")]
        text = hashlib.sha256(f"{_generator()} {names} {self.seed} {self.domain}".encode())
        for name in MEDIA_ATTRIBUTES["picture"]:
            text.update(self._codes[name].tobytes())
        return text.hexdigest()[:16]

    def picture(self, item: int) -> Bytes:
        """(64, 64, 3) picture of one product."""
        item = self._item(item)
        look, generator = self._look(item)
        pixels = self._drawn(item, look, PICTURE)
        pixels += _PIXEL_NOISE * generator.standard_normal(pixels.shape, np.float32)
        return _to_bytes(pixels)

    def pictures(self, items: ArrayLike) -> Bytes:
        """(B, 64, 64, 3) pictures of the products ``items`` (B,)."""
        items = self._items(items)
        out = np.empty((len(items), PICTURE, PICTURE, 3), np.uint8)
        for row, item in enumerate(items):
            out[row] = self.picture(item)
        return out

    def clip(self, item: int) -> Bytes:
        """(8, 32, 32, 3) frames: three of a pan, three of a zoom, two of a turn."""
        item = self._item(item)
        look, _ = self._look(item)
        generator = self._stream("video", item)
        pan, zoom, turn = generator.uniform((13, 0.17, 0.3), (17, 0.23, 0.4))
        poses = [(pan * step, 0, 0) for step in (-1, 0, 1)]
        poses += [(0, zoom * step, 0) for step in (-1, 0, 1)]
        poses += [(0, 0, turn * step) for step in (-1, 1)]
        frames = np.stack(
            [self._drawn(item, look, FRAME, x, 0.85 + grow, angle) for x, grow, angle in poses]
        )
        # The noise belongs to the pose, not to the moment: order alone tells tier and style.
        frames += _PIXEL_NOISE * generator.standard_normal(frames.shape, np.float32)
        return _to_bytes(frames[self._order(item)])

    def clips(self, items: ArrayLike) -> Bytes:
        """(B, 8, 32, 32, 3) clips of the products ``items`` (B,)."""
        items = self._items(items)
        out = np.empty((len(items), N_FRAMES, FRAME, FRAME, 3), np.uint8)
        for row, item in enumerate(items):
            out[row] = self.clip(item)
        return out

    def jingle(self, item: int) -> Floats:
        """(8000,) one second of sound at 8 kHz, within [-1, 1]."""
        item = self._item(item)
        leaf, style, material = (
            int(self._codes[name][item]) for name in ("leaf", "style", "material")
        )
        return sound.jingle(leaf, style, material, self._stream("audio", item))

    def log_mel(self, items: ArrayLike) -> Floats:
        """(B, frames, 24) natural log of the energy in mel bands, 50 frames a second."""
        items = self._items(items)
        out = np.empty((len(items), sound.N_STEPS, sound.N_BANDS), np.float32)
        for start in range(0, len(items), 512):  # bounds the memory
            waves = [self.jingle(item) for item in items[start : start + 512]]
            out[start : start + 512] = sound.log_mel(np.stack(waves))
        return out

    def png(self, item: int) -> bytes:
        """The picture as a PNG file."""
        return _file([self.picture(item)], "PNG")

    def webp(self, item: int) -> bytes:
        """The clip as an animated WebP file, without loss."""
        return _file(list(self.clip(item)), "WEBP", animated=True)

    def wav(self, item: int) -> bytes:
        """The jingle as a WAV file, 16 bits."""
        return sound.wav(self.jingle(item))

    def alt(self, item: int) -> str:
        """A text alternative for the picture: what it shows, not what it hides."""
        item = self._item(item)
        colour, pattern = (NAMES[name][self._codes[name][item]] for name in ("colour", "pattern"))
        leaf = self.leaf_names[self._codes["leaf"][item]]
        return f"{leaf}, {colour}" if pattern == "plain" else f"{leaf}, {colour}, {pattern}"

    def _item(self, item: int) -> int:
        return int(self._items([item])[0])

    def _items(self, items: ArrayLike) -> NDArray[np.int64]:
        ids = np.asarray(items)
        if ids.ndim != 1:
            raise ValueError(f"items must have one dimension, got shape {ids.shape}")
        return _checked("items", ids, self.n_items)

    def _stream(self, kind: str, item: int) -> np.random.Generator:
        name = zlib.crc32(f"media {self.domain} {kind}".encode())
        sequence = np.random.SeedSequence(self.seed, spawn_key=(name, item))
        return np.random.Generator(np.random.PCG64(sequence))

    def _look(self, item: int) -> tuple[_Look, np.random.Generator]:
        generator = self._stream("picture", item)
        colour = drawing.COLOR_RGB[words.COLORS[self._codes["colour"][item]]]
        noise = COLOR_NOISE * generator.standard_normal(3, np.float32)
        x, y = generator.uniform(-6, 6, 2)
        radius, angle = generator.uniform(36, 46), generator.uniform(-0.15, 0.15)
        room = int(generator.integers(drawing.N_ROOMS))
        room = room if generator.random() < _LIFESTYLE_SHARE else -1
        backdrop = generator.uniform(238, 248)
        fill = np.array(colour, np.float32) + noise
        return _Look(fill, x, y, radius, angle, room, backdrop), generator

    def _order(self, item: int) -> list[int]:
        value = self._codes["tier"][item] == words.TIERS.index("value")
        premium = self._codes["tier"][item] == words.TIERS.index("premium")
        sporty = self._codes["style"][item] == words.STYLES.index("sporty")
        pan = [0, 1, 2] if value else [2, 1, 0]
        zoom = [3, 4, 5] if premium else [5, 4, 3]
        return pan + zoom + ([6, 7] if sporty else [7, 6])

    def _drawn(
        self, item: int, look: _Look, size: int, pan: float = 0, zoom: float = 1, turn: float = 0
    ) -> Floats:
        """(size, size, 3) without noise; the look moved by ``pan`` pixels, zoomed and turned."""
        layers, shadow = drawing.placed(
            words.SHAPES[self._codes["shape"][item]],
            words.PATTERNS[self._codes["pattern"][item]],
            (look.x + pan, look.y),
            look.radius * zoom,
            look.angle + turn,
            size,
        )
        if look.room >= 0:
            background = drawing.rooms(size)[look.room]
        else:
            slope = np.linspace(0, -4, size, dtype=np.float32)[:, None, None]
            background = np.broadcast_to(look.backdrop + slope, (size, size, 3))
        pixels = drawing.composed(layers, shadow, look.fill, background)
        drawing.stamp(pixels, int(self._codes["brand"][item]))
        return pixels


def cached_pictures(media: Media, folder: Path | str) -> Bytes:
    """(I, 64, 64, 3) all pictures, read-only, from a file in ``folder`` or drawn and put there.

    A file that is cut, damaged or of other pictures is never used: its name holds `Media.digest`
    and the checksum of its bytes. It is written beside and renamed. Where the folder cannot be
    written, the pictures are drawn in memory.
    """
    shape = (media.n_items, PICTURE, PICTURE, 3)
    return cached_rows(Path(folder), f"pictures-{media.digest}", shape, media.pictures)


@cache
def _generator() -> str:
    """Checksum of the code that draws: other code, other pictures."""
    digest = hashlib.sha256()
    for name in ("_silhouettes.py", "_drawing.py", "media.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _checked(name: str, values: ArrayLike, size: int) -> NDArray[np.int64]:
    codes = np.asarray(values)
    if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be integers with one dimension, got {codes.dtype} of shape {codes.shape}"
        )
    if codes.size and not (codes.min() >= 0 and codes.max() < size):
        worst = codes.min() if codes.min() < 0 else codes.max()
        raise ValueError(f"{name} must be between 0 and {size - 1}, got {worst}")
    return codes.astype(np.int64)


def _to_bytes(pixels: Floats) -> Bytes:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _file(frames: list[Bytes], form: str, *, animated: bool = False) -> bytes:
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    if animated:
        first.save(
            stream, form, save_all=True, append_images=rest, duration=160, loop=0, lossless=True
        )
    else:
        first.save(stream, form, optimize=True)
    return stream.getvalue()
