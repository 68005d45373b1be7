"""Pictures, jingles and clips: made alone or in a batch, they show what they should and no more."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reclib.shop import _drawing, _silhouettes, _sound, _visible, media
from reclib.shop import _words as words
from reclib.shop.media import MEDIA_ATTRIBUTES, Media, bayes_ceiling, cached_pictures

Array = NDArray[np.float64]

SIZES = {
    "shape": 12, "colour": 12, "pattern": 6, "material": 8, "style": 6, "tier": 3, "brand": 8,
    "leaf": 24,
}  # fmt: skip
LEAVES = [f"Leaf {number}" for number in range(24)]
N, N_CLIPS, N_JINGLES = 900, 400, 500


def drawn_codes(n: int, seed: int = 3) -> dict[str, NDArray[np.int64]]:
    """Attributes independent of each other, so that none can be guessed from another."""
    generator = np.random.default_rng(seed)
    return {name: generator.integers(size, size=n) for name, size in SIZES.items()}


CODES = drawn_codes(N)
MEDIA = Media(CODES, LEAVES, seed=5)


def changed(name: str) -> Media:
    return Media({**CODES, name: (CODES[name] + 1) % SIZES[name]}, LEAVES, seed=5)


RENDER: dict[str, Callable[[Media, int], NDArray[np.generic]]] = {
    "picture": Media.picture,
    "audio": Media.jingle,
    "video": Media.clip,
}


# Alone, in a batch, and again


@pytest.mark.parametrize("batch", ["pictures", "clips"])
def test_a_product_alone_equals_its_row_in_a_batch(batch: str) -> None:
    items = [17, 3, 899, 3]
    rows = getattr(MEDIA, batch)(items)
    alone = [getattr(MEDIA, batch.removesuffix("s"))(item) for item in items]
    assert (rows == np.stack(alone)).all()


def test_a_spectrogram_alone_equals_its_row_in_a_batch() -> None:
    items = np.arange(600) % 7  # more than one chunk
    rows = MEDIA.log_mel(items)
    np.testing.assert_allclose(rows[599], MEDIA.log_mel([599 % 7])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("modality", RENDER)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(modality: str) -> None:
    render = RENDER[modality]
    first = render(MEDIA, 4)
    assert (first == render(Media(CODES, LEAVES, seed=5), 4)).all()
    assert (first != render(Media(CODES, LEAVES, seed=6), 4)).any()
    assert (first != render(Media(CODES, LEAVES, seed=5, domain="sport"), 4)).any()


def test_sizes_and_types_are_as_promised() -> None:
    assert (MEDIA.pictures([0, 1]).shape, MEDIA.picture(0).dtype) == ((2, 64, 64, 3), np.uint8)
    assert (MEDIA.clips([0, 1]).shape, MEDIA.clip(0).dtype) == ((2, 8, 32, 32, 3), np.uint8)
    assert (MEDIA.jingle(0).shape, MEDIA.jingle(0).dtype) == ((8_000,), np.float32)
    assert (MEDIA.log_mel([0, 1]).shape, MEDIA.log_mel([0]).dtype) == ((2, 49, 24), np.float32)
    assert MEDIA.pictures([]).shape == (0, 64, 64, 3)
    assert MEDIA.log_mel([]).shape == (0, 49, 24)


# What is shown: exactly


@pytest.mark.parametrize("modality", MEDIA_ATTRIBUTES)
@pytest.mark.parametrize("name", SIZES)
def test_changing_an_attribute_changes_only_the_modalities_that_show_it(
    name: str, modality: str
) -> None:
    other, render = changed(name), RENDER[modality]
    differs = [bool((render(MEDIA, item) != render(other, item)).any()) for item in range(12)]
    assert any(differs) == (name in MEDIA_ATTRIBUTES[modality])


@pytest.mark.parametrize("name", ["tier", "style"])
def test_tier_and_style_only_reorder_the_frames_of_a_clip(name: str) -> None:
    other = changed(name)
    for item in range(12):
        frames = {frame.tobytes() for frame in MEDIA.clip(item)}
        assert frames == {frame.tobytes() for frame in other.clip(item)}


# What is shown: by probes on products that were not used to fit


def foreground(pictures: Array) -> NDArray[np.bool_]:
    """(B, S, S) where the product is: what differs from the sides of its row, without holes."""
    size = pictures.shape[1]
    margin, corner = size // 16, size * 3 // 16
    sides = np.concatenate([pictures[:, :, :margin], pictures[:, :, -margin:]], axis=2)
    found = np.abs(pictures - np.median(sides, axis=2)[:, :, None]).max(-1) > 22
    found[:, -corner:, -corner:] = False  # the brand's mark
    near = np.ones((1, 3, 3))
    return ndimage.binary_fill_holes(ndimage.binary_closing(found, structure=near), structure=near)


def outline(mask: NDArray[np.bool_]) -> Array:
    """(B, 258) each mask stretched to 16 x 16, and its height and width."""
    rows = []
    for one in mask:
        spans = [np.flatnonzero(one.sum(axis) > 2) for axis in (1, 0)]
        ends = [(span[0], span[-1]) if len(span) else (0, len(one) - 1) for span in spans]
        y, x = (np.linspace(*end, 16).round().astype(int) for end in ends)
        extent = [(end[1] - end[0]) / len(one) for end in ends]
        rows.append(np.append(one[np.ix_(y, x)].ravel(), 4 * np.array(extent)))
    return np.array(rows)


def histogram(pictures: Array, mask: NDArray[np.bool_]) -> Array:
    """(B, 216) square roots of the shares of 6 x 6 x 6 colours in the foreground."""
    cells = (pictures // 43).astype(int) @ [36, 6, 1]
    counts = [np.bincount(c[m], minlength=216) for c, m in zip(cells, mask, strict=True)]
    return np.sqrt(np.array(counts) / mask.sum((1, 2)).clip(1)[:, None])


def texture(pictures: Array, mask: NDArray[np.bool_]) -> Array:
    """Autocorrelation of brightness inside the product, and its variance."""
    size = pictures.shape[1]
    inside = ndimage.binary_erosion(mask, structure=np.ones((1, 3, 3)), iterations=size // 32)
    weight = inside.sum((1, 2), keepdims=True).clip(1)
    gray = np.where(inside, pictures.mean(-1), 0)
    gray = (gray - gray.sum((1, 2), keepdims=True) / weight) * inside
    power = (
        np.abs(np.fft.rfft2(field, (2 * size, 2 * size))) ** 2 for field in (gray, 1.0 * inside)
    )
    product, pairs = (np.fft.irfft2(part, (2 * size, 2 * size)) for part in power)
    product /= pairs.clip(5)
    lag = size // 8
    variance = product[:, :1, :1] + 20
    near = np.concatenate([product[:, -lag:], product[:, : lag + 1]], axis=1)[:, :, : lag + 1]
    return np.hstack([(near / variance).reshape(len(near), -1), np.log(variance[:, 0])])


def accuracy(model: object, features: Array, codes: NDArray[np.int64]) -> float:
    half = len(features) * 6 // 10
    fitted = model.fit(features[:half], codes[:half])  # type: ignore[attr-defined]
    return float(fitted.score(features[half:], codes[half : len(features)]))


class NearestMean:
    """The plainest probe: the class whose mean is nearest."""

    def fit(self, features: Array, codes: NDArray[np.int64]) -> NearestMean:
        self.means = np.stack([features[codes == code].mean(0) for code in range(codes.max() + 1)])
        return self

    def score(self, features: Array, codes: NDArray[np.int64]) -> float:
        away = ((features[:, None] - self.means) ** 2).sum(2)
        return float((away.argmin(1) == codes).mean())


def logistic(strength: float = 0.1) -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2_000))


def at_chance(rate: float, codes: NDArray[np.int64], n_features: int) -> bool:
    """No better than always naming the most frequent value, within 3 standard errors."""
    n = n_features - n_features * 6 // 10
    best = np.bincount(codes[:n_features]).max() / n_features
    return rate < best + 3 * np.sqrt(best * (1 - best) / n)


@pytest.fixture(scope="module")
def seen() -> dict[str, Array]:
    """Features of the pictures by the attribute that they were made for."""
    pictures = MEDIA.pictures(np.arange(N)).astype(float)
    mask = foreground(pictures)
    return {
        "shape": outline(mask),
        "colour": histogram(pictures, mask),
        "pattern": texture(pictures, mask),
        "brand": pictures[:, -10:-2, -10:-2].reshape(N, -1),
    }


@pytest.fixture(scope="module")
def heard() -> NDArray[np.float32]:
    return MEDIA.log_mel(np.arange(N_JINGLES))


@pytest.fixture(scope="module")
def filmed() -> Array:
    return MEDIA.clips(np.arange(N_CLIPS)).astype(float)


@pytest.mark.parametrize("name", MEDIA_ATTRIBUTES["picture"])
def test_a_picture_shows(name: str, seen: dict[str, Array]) -> None:
    shares = np.full(SIZES[name], 1 / SIZES[name])
    rate = accuracy(logistic(), seen[name], CODES[name])
    assert 0.9 * bayes_ceiling(name, "picture", shares) <= rate


@pytest.mark.parametrize("name", ["shape", "colour", "brand"])
def test_the_nearest_mean_picture_is_enough_for(name: str, seen: dict[str, Array]) -> None:
    assert accuracy(NearestMean(), seen[name], CODES[name]) >= 0.9


@pytest.mark.parametrize("name", ["material", "style", "tier"])
def test_a_picture_hides(name: str, seen: dict[str, Array]) -> None:
    everything = np.hstack(list(seen.values()))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    assert at_chance(accuracy(model, everything, CODES[name]), CODES[name], N)


def test_the_decay_of_a_jingle_tells_the_material(heard: NDArray[np.float32]) -> None:
    loudness = np.log(np.exp(heard).sum(2))
    moments = (12.5 * np.arange(4)[:, None] + np.arange(1, 12)).astype(int)  # (4 notes, 11)
    decay = loudness[:, moments].mean(1)
    decay = decay[:, 1:] - decay[:, :1]
    rate = accuracy(NearestMean(), decay, CODES["material"])
    assert rate >= 0.9 * bayes_ceiling("material", "audio")


@pytest.mark.parametrize("name", ["style", "leaf"])
def test_a_jingle_tells(name: str, heard: NDArray[np.float32]) -> None:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    # Each pitch belongs to two of the 24 leaves: it names the pitch, then guesses one of the two.
    codes = CODES[name] % 12 if name == "leaf" else CODES[name]
    rate = accuracy(model, heard[:, ::2].reshape(N_JINGLES, -1), codes) / (
        2 if name == "leaf" else 1
    )
    shares = np.full(SIZES[name], 1 / SIZES[name])
    assert rate >= 0.9 * bayes_ceiling(name, "audio", shares)


@pytest.mark.parametrize("name", ["colour", "tier"])
def test_a_jingle_hides(name: str, heard: NDArray[np.float32]) -> None:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    rate = accuracy(model, heard[:, ::2].reshape(N_JINGLES, -1), CODES[name])
    assert at_chance(rate, CODES[name], N_JINGLES)


def motion(clips: Array) -> Array:
    """(B, 21) how far each change of frame is a shift, a growth and a turn (optical flow)."""
    gray = clips.mean(-1)
    axis = np.arange(32) - 15.5
    columns = []
    for before, after in zip(range(7), range(1, 8), strict=True):
        change, middle = gray[:, after] - gray[:, before], (gray[:, after] + gray[:, before]) / 2
        change[:, -6:, -6:] = 0
        weight = np.abs(middle - np.median(middle, axis=(1, 2), keepdims=True))
        weight /= weight.sum((1, 2), keepdims=True)
        x = axis[None, None, :] - (weight * axis[None, None, :]).sum((1, 2), keepdims=True)
        y = axis[None, :, None] - (weight * axis[None, :, None]).sum((1, 2), keepdims=True)
        down, right = np.gradient(middle, axis=(1, 2))
        for flow in (right, x * right + y * down, x * down - y * right):
            length = np.sqrt((change**2).sum((1, 2)) * (flow**2).sum((1, 2)))
            columns.append((change * flow).sum((1, 2)) / length)
    return np.stack(columns, axis=1)


def test_the_motion_of_a_clip_tells_the_tier(filmed: Array) -> None:
    assert accuracy(logistic(1), motion(filmed), CODES["tier"]) >= 0.9


def test_the_motion_of_a_clip_tells_a_sporty_style(filmed: Array) -> None:
    sporty = (CODES["style"] == words.STYLES.index("sporty")).astype(int)
    assert accuracy(logistic(1), motion(filmed), sporty) >= 0.95


@pytest.mark.parametrize("name", ["shape", "colour", "pattern", "brand"])
def test_a_frame_of_a_clip_shows(name: str, filmed: Array) -> None:
    # The largest view is the end of the zoom: frame 5 where the product came closer, else 3.
    largest = np.where(CODES["tier"][:N_CLIPS] == words.TIERS.index("premium"), 5, 3)
    frame = filmed[np.arange(N_CLIPS), largest]
    mask = foreground(frame)
    features = {
        "shape": outline(mask),
        "colour": histogram(frame, mask),
        "pattern": texture(frame, mask),
        "brand": frame[:, -6:-2, -6:-2].reshape(N_CLIPS, -1),
    }
    assert accuracy(logistic(), features[name], CODES[name]) >= 0.9


@pytest.mark.parametrize("name", ["tier", "style"])
def test_shuffled_frames_tell_nothing_of_the_motion(name: str, filmed: Array) -> None:
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(8), (N_CLIPS, 1)), axis=1)
    shuffled = motion(filmed[np.arange(N_CLIPS)[:, None], orders])
    assert at_chance(accuracy(logistic(1), shuffled, CODES[name]), CODES[name], N_CLIPS)


# Which way things move and sound


def tall(tier: str, style: str) -> Media:
    """Red trousers of one tier and style."""
    codes = {name: np.zeros(20, int) for name in SIZES}
    codes["shape"] += words.SHAPES.index("trousers")
    codes["colour"] += words.COLORS.index("red")
    codes["tier"] += words.TIERS.index(tier)
    codes["style"] += words.STYLES.index(style)
    return Media(codes, LEAVES)


@pytest.mark.parametrize("tier", words.TIERS)
@pytest.mark.parametrize("style", ["sporty", "classic"])
def test_value_goes_right_premium_comes_closer_and_sporty_turns_clockwise(
    tier: str, style: str
) -> None:
    clips = tall(tier, style).clips(np.arange(20)).astype(float)
    red = clips[..., 0] - clips[..., 1:].mean(-1)
    weight = np.where(red > 60, red, 0)  # (20, 8, 32, 32)
    axis = np.arange(32)
    total = weight.sum((2, 3))
    x, y = (weight.sum(2) * axis).sum(2) / total, (weight.sum(3) * axis).sum(2) / total
    tilt = np.einsum("nfyx,nfy,nfx->nf", weight, axis - y[..., None], axis - x[..., None]) / total
    assert ((x[:, 2] > x[:, 0] + 2) == (tier == "value")).all()
    assert ((total[:, 5] > total[:, 3] * 1.2) == (tier == "premium")).all()
    # With y down, what leans to the right has its top (small y) at large x.
    assert ((tilt[:, 7] < tilt[:, 6]) == (style == "sporty")).all()


def test_notes_follow_the_leaf_and_the_style() -> None:
    for item in range(24):
        sound = MEDIA.jingle(item)
        pitches = 220 * 2 ** (
            (CODES["leaf"][item] % 12 + np.array(_sound.notes(CODES["style"][item]))) / 12
        )
        for note, pitch in zip(sound.reshape(4, 2_000), pitches, strict=True):
            spectrum = np.abs(np.fft.rfft(note, 16_000))
            low = 2 * 200  # half a hertz a bin
            found = (low + spectrum[low : 2 * 900].argmax()) / 2
            # The fundamental is never weaker than a harmonic, but material 0's come close.
            assert min(abs(found / pitch - k) for k in (1, 2, 3)) < 0.02


def test_each_style_has_its_own_arpeggio() -> None:
    assert len({_sound.notes(style) for style in range(6)}) == 6
    assert all(sorted(_sound.notes(style)) == [0, 4, 7, 12] for style in range(6))


def test_log_mel_equals_a_slow_one() -> None:
    sound = MEDIA.jingle(0).astype(float)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 319)
    frame = sound[3 * 160 : 3 * 160 + 320] * window
    bins = np.arange(161)
    wave_table = np.exp(-2j * np.pi * np.outer(bins, np.arange(320)) / 320)
    power = np.abs(wave_table @ frame) ** 2
    mel = np.linspace(2595 * np.log10(1 + 80 / 700), 2595 * np.log10(1 + 4000 / 700), 26)
    edges = 700 * (10 ** (mel / 2595) - 1)
    for band in range(24):
        low, peak, high = edges[band : band + 3]
        energy = sum(
            p * max(0.0, min((f - low) / (peak - low), (high - f) / (high - peak)))
            for p, f in zip(power, bins * 25.0, strict=True)
        )
        assert np.log(energy + 1e-6) == pytest.approx(MEDIA.log_mel([0])[0, 3, band], abs=1e-3)


# Files and words


def test_png_holds_the_picture() -> None:
    image = Image.open(io.BytesIO(MEDIA.png(7)))
    assert image.format == "PNG"
    assert (np.asarray(image) == MEDIA.picture(7)).all()


def test_webp_holds_every_frame_of_the_clip() -> None:
    image = Image.open(io.BytesIO(MEDIA.webp(7)))
    assert image.n_frames == 8
    for number, frame in enumerate(MEDIA.clip(7)):
        image.seek(number)
        assert (np.asarray(image.convert("RGB")) == frame).all()


def test_wav_holds_the_jingle() -> None:
    with wave.open(io.BytesIO(MEDIA.wav(7))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8_000, 1, 2)
        samples = np.frombuffer(file.readframes(8_000), "<i2") / 32_767
    np.testing.assert_allclose(samples, MEDIA.jingle(7), atol=0.5001 / 32_767)


def test_the_text_alternative_names_what_the_picture_shows_only() -> None:
    codes = {name: [1, 0] for name in SIZES}
    codes["pattern"] = [words.PATTERNS.index("dots"), words.PATTERNS.index("plain")]
    codes["leaf"] = [3, 4]
    both = Media(codes, LEAVES)
    assert both.alt(0) == f"Leaf 3, {words.COLORS[1]}, dots"
    assert both.alt(1) == f"Leaf 4, {words.COLORS[0]}"


def test_every_name_of_shape_color_and_pattern_can_be_drawn() -> None:
    assert set(_silhouettes.SILHOUETTES) == set(words.SHAPES)
    assert set(_drawing.COLOR_RGB) == set(words.COLORS)
    inks = [_silhouettes.sprite("top", name, 192)[0].tobytes() for name in words.PATTERNS]
    assert len(set(inks)) == len(words.PATTERNS)


def test_every_brand_has_its_own_mark() -> None:
    marks = {
        (cells.tobytes(), color.tobytes())
        for cells, color in map(_drawing.mark, range(_drawing.N_MARKS))
    }
    assert len(marks) == _drawing.N_MARKS == 1_680


def test_about_a_fifth_of_the_pictures_are_taken_in_a_room() -> None:
    rooms = np.array([MEDIA._look(item)[0].room for item in range(N)])
    assert abs((rooms >= 0).mean() - 0.2) < 3 * np.sqrt(0.2 * 0.8 / N)
    assert set(rooms) == {-1, 0, 1, 2, 3, 4}


# Ceilings


def test_a_hidden_attribute_is_guessed_as_its_most_frequent_value() -> None:
    assert bayes_ceiling("material", "picture") == 1 / 8
    assert bayes_ceiling("pattern", "audio", words.PATTERN_SHARES) == 0.5
    assert bayes_ceiling("brand", "audio", [1, 3]) == 0.75


def test_ceilings_of_what_is_shown_in_part() -> None:
    assert bayes_ceiling("leaf", "audio", np.ones(24)) == pytest.approx(12 / 24)
    assert bayes_ceiling("leaf", "audio", np.ones(5)) == pytest.approx(1)
    assert bayes_ceiling("style", "video") == pytest.approx(2 / 6)
    assert bayes_ceiling("shape", "picture") == 1


def test_the_ceiling_of_color_equals_the_one_by_densities() -> None:
    shares = np.array(words.COLOR_SHARES)
    noise = 30.0  # far more than the shop has, so that colours overlap
    means = np.array([_drawing.COLOR_RGB[name] for name in words.COLORS], float)
    generator = np.random.default_rng(1)
    truth = generator.choice(12, 20_000, p=shares)
    drawn = means[truth] + noise * generator.normal(size=(len(truth), 3))
    density = np.stack(
        [
            share * multivariate_normal(mean, noise**2).pdf(drawn)
            for share, mean in zip(shares, means, strict=True)
        ]
    )
    slow = (density.argmax(0) == truth).mean()
    assert 0.5 < slow < 0.97
    assert _visible._color_ceiling(tuple(shares), noise) == pytest.approx(slow, abs=0.01)
    assert bayes_ceiling("colour", "picture") > 0.999


# The cache


@pytest.fixture
def few() -> Media:
    return Media({name: values[:6] for name, values in CODES.items()}, LEAVES, seed=5)


def test_cached_pictures_are_drawn_once_and_then_read(
    few: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_pictures(few, tmp_path / "new")
    assert (first == few.pictures(np.arange(6))).all()
    assert [path.suffix for path in (tmp_path / "new").iterdir()] == [".npy"]

    def refuse(self: Media, items: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(Media, "pictures", refuse)
    again = cached_pictures(few, tmp_path / "new")
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    assert (again == first).all()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_drawn_again(few: Media, tmp_path: Path, damage: str) -> None:
    cached_pictures(few, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    path.write_bytes(
        {"cut": whole[:-100], "flipped": flipped, "empty": b"", "text": b"not pictures"}[damage]
    )
    assert (cached_pictures(few, tmp_path) == few.pictures(np.arange(6))).all()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [whole]


def test_pictures_of_other_media_are_never_read(few: Media, tmp_path: Path) -> None:
    cached_pictures(few, tmp_path)
    codes = {name: values[:6] for name, values in changed("colour")._codes.items()}
    for other in (Media(codes, LEAVES, seed=5), Media(few._codes, LEAVES, seed=6)):
        assert (cached_pictures(other, tmp_path) == other.pictures(np.arange(6))).all()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_written_gives_pictures_in_memory(
    few: Media, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    pictures = cached_pictures(few, tmp_path / "file")
    assert (pictures == few.pictures(np.arange(6))).all()
    assert not pictures.flags.writeable


def test_a_full_disk_leaves_nothing_behind(
    few: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert (cached_pictures(few, tmp_path) == few.pictures(np.arange(6))).all()
    assert list(tmp_path.iterdir()) == []


# Bad input


@pytest.mark.parametrize(
    ("name", "codes", "message"),
    [
        ("colour", [12], "colour must be between 0 and 11, got 12"),
        ("leaf", [-1], "leaf must be between 0 and 23, got -1"),
        ("brand", [1_680], "brand must be between 0 and 1679, got 1680"),
        ("tier", [0.5], "tier must be integers with one dimension, got float64 of shape (1,)"),
        ("shape", [[1]], "shape must be integers with one dimension, got int64 of shape (1, 1)"),
    ],
)
def test_wrong_codes_are_refused(name: str, codes: list[int], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Media({**{key: [0] for key in SIZES}, name: codes}, LEAVES)
    assert str(error.value) == message


def test_codes_of_several_lengths_and_missing_codes_are_refused() -> None:
    good = {key: [0] for key in SIZES}
    with pytest.raises(ValueError, match="codes must have one length, got .*'tier': 2"):
        Media({**good, "tier": [0, 1]}, LEAVES)
    del good["tier"]
    with pytest.raises(KeyError, match="missing tier"):
        Media(good, LEAVES)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_wrong_seeds_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be an integer at least 0, got"):
        Media({key: [0] for key in SIZES}, LEAVES, seed=seed)


def test_unknown_products_are_refused() -> None:
    for call in (MEDIA.picture, MEDIA.jingle, MEDIA.clip, MEDIA.alt):
        with pytest.raises(ValueError, match="items must be between 0 and 899, got 1000"):
            call(1_000)
    with pytest.raises(ValueError, match="items must be between 0 and 899, got -1"):
        MEDIA.pictures([0, -1])
    with pytest.raises(ValueError, match="items must have one dimension, got shape"):
        MEDIA.pictures([[0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("colour", "smell"), "modality must be one of ('picture', 'audio', 'video'), got 'smell'"),
        (("price", "audio"), f"attribute must be one of {_visible.CODES}, got 'price'"),
        (("leaf", "audio"), "shares must be given for leaf, got None"),
        (("tier", "video", [1, 2]), "shares must have length 3, got 2"),
        (("tier", "video", [1, -2, 1]), "shares must be at least 0 and not all 0, got [1, -2, 1]"),
    ],
)
def test_wrong_questions_for_a_ceiling_are_refused(
    arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        bayes_ceiling(*arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_media_names_what_it_offers() -> None:
    assert all(hasattr(media, name) for name in media.__all__)
