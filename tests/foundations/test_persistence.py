"""Saving and loading: bit-equal, all or nothing, and no code in the folder."""

import json
import os
import pickle
import re
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import reclib
from reclib.foundations import persistence
from reclib.foundations.persistence import load, save


class Fake:
    """The smallest model: options, and whatever arrays a test gives it."""

    def __init__(self, *, size=3, layers=(8, 4), name="fake", rate=0.1, deep=None, seed=0):
        self.size, self.layers, self.name = size, layers, name
        self.rate, self.deep, self.seed = rate, deep, seed
        self.arrays = {}

    def state(self):
        return self.arrays

    def set_state(self, state):
        self.arrays = state


class Other(Fake):
    """Another class with the same options."""


def fake(arrays=None, **options):
    model = Fake(**options)
    model.arrays = {"weights": np.arange(6.0).reshape(2, 3)} if arrays is None else arrays
    return model


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def description(folder, **changes):
    """Rewrite model.json with some entries changed; None removes."""
    path = folder / "model.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


RAGGED = np.arange(24, dtype=np.float32).reshape(4, 6)
STATES = {
    "float32": np.array([[1.5, -0.0, np.inf], [1e-45, np.pi, -np.inf]], dtype=np.float32),
    "float64": np.array([0.1, 1 / 3, 5e-324]),
    "float16": np.array([0.1, 65504], dtype=np.float16),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "int32": np.array([[7]], dtype=np.int32),
    "uint8": np.array([0, 255], dtype=np.uint8),
    "bool": np.array([True, False, True]),
    "empty": np.zeros((0, 5), dtype=np.float32),
    "zero-dimensional": np.array(2.5),
    "transposed": RAGGED.T,
    "strided": RAGGED[::2, 1::3],
    "reversed": np.arange(5)[::-1],
    "big-endian": np.array([1, 256, 65536], dtype=">i8"),
    "read-only": np.frombuffer(b"\x01\x02\x03\x04", dtype=np.int16),
    "nan": np.array([0x7FF8000000000001, 0x7FF0000000000001], dtype=np.uint64).view(np.float64),
}


@pytest.mark.parametrize("array", STATES.values(), ids=STATES.keys())
def test_an_array_comes_back_bit_for_bit(tmp_path, array):
    save(fake({"values": array}), tmp_path / "model")
    loaded = load(Fake, tmp_path / "model").arrays["values"]
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.shape == array.shape
    assert loaded.tobytes() == array.astype(loaded.dtype).tobytes()


def test_all_arrays_come_back_under_their_names(tmp_path):
    save(fake(STATES), tmp_path)
    loaded = load(Fake, tmp_path).arrays
    assert loaded.keys() == STATES.keys()
    np.testing.assert_array_equal(loaded["transposed"], RAGGED.T)


def test_loaded_arrays_can_be_written_to(tmp_path):
    save(fake(), tmp_path)
    loaded = load(Fake, tmp_path).arrays["weights"]
    loaded += 1
    assert loaded.sum() == 21


def test_a_model_without_arrays_can_be_saved(tmp_path):
    save(fake({}), tmp_path)
    assert load(Fake, tmp_path).arrays == {}


def test_saving_leaves_the_model_as_it_was(tmp_path):
    transposed = RAGGED.T
    model = fake({"weights": transposed})
    save(model, tmp_path)
    assert model.arrays["weights"] is transposed
    assert not transposed.flags.c_contiguous


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**70, 2**70),
        (0.1 + 0.2, 0.1 + 0.2),
        ("Größe 尺寸", "Größe 尺寸"),
        ((64, 32), (64, 32)),
        ((), ()),
        ([1, (2, [3])], [1, (2, [3])]),
        ({"a": (1,), "b": {"c": None}}, {"a": (1,), "b": {"c": None}}),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
    ],
)
def test_an_option_comes_back_with_its_type(tmp_path, option, expected):
    save(fake(deep=option), tmp_path)
    loaded = load(Fake, tmp_path).deep
    assert loaded == expected
    assert repr(loaded) == repr(expected)  # tells 1 from True and a list from a tuple, at any depth


def test_options_that_are_not_defaults_come_back(tmp_path):
    save(fake(size=7, layers=(2,), name="a", rate=3.0, seed=5), tmp_path)
    loaded = load(Fake, tmp_path)
    assert (loaded.size, loaded.layers, loaded.name, loaded.rate, loaded.seed) == (
        *(7, (2,), "a", 3.0, 5),
    )


def test_model_json_describes_the_model_to_a_reader(tmp_path):
    save(fake(layers=(8,)), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert content["reclib"] == reclib.__version__
    assert content["class"] == f"{__name__}.Fake"
    assert content["options"]["layers"] == {"__tuple__": [8]}
    assert content["sizes"] == {"weights": ["float64", 2, 3]}
    assert sorted(content) == ["class", "format", "options", "reclib", "sha256", "sizes"]


def test_a_string_or_a_path_names_the_folder_and_parents_are_made(tmp_path):
    folder = tmp_path / "a" / "b"
    assert save(fake(size=9), str(folder)) == folder
    assert load(Fake, str(folder)).size == load(Fake, folder).size == 9


def test_a_second_save_replaces_the_first_and_leaves_nothing_of_it(tmp_path):
    save(fake(size=1), tmp_path)
    save(fake({"other": np.ones(3)}, size=2), tmp_path)
    loaded = load(Fake, tmp_path)
    assert loaded.size == 2
    assert list(loaded.arrays) == ["other"]
    assert len(files(tmp_path)) == 2


def test_saving_the_same_model_again_changes_no_byte(tmp_path):
    save(fake(), tmp_path)
    before = files(tmp_path)
    save(fake(), tmp_path)
    assert files(tmp_path) == before


def test_a_save_keeps_other_files_and_removes_what_a_killed_save_left(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".saving-123").mkdir()
    (tmp_path / ".saving-123" / "model.json").write_text("half")
    (tmp_path / "tensors-0123456789abcdef.safetensors").write_text("orphan")
    save(fake(), tmp_path)
    assert sorted(name[:8] for name in files(tmp_path)) == ["model.js", "notes.tx", "tensors-"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_saved_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_text("")
    save(fake(), tmp_path / "model")
    usual = stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert modes == {usual}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Options that several models share."""

    epochs: int = 20
    betas: tuple[float, float] = (0.9, 0.999)
    device: str | None = None
    steps: int = field(init=False, default=7)

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")


class Trained(Fake):
    """Has an option that is a dataclass."""

    def __init__(self, *, schedule=Schedule(), seed=0):
        super().__init__(seed=seed)
        self.schedule = schedule


def test_an_option_that_is_a_dataclass_comes_back_as_one(tmp_path):
    schedule = Schedule(epochs=3, betas=(0.5, 0.75), device="cpu")
    save(Trained(schedule=schedule), tmp_path)
    loaded = load(Trained, tmp_path).schedule
    assert type(loaded) is Schedule
    assert loaded == schedule
    written = json.loads((tmp_path / "model.json").read_text())["options"]["schedule"]
    assert written == {"epochs": 3, "betas": {"__tuple__": [0.5, 0.75]}, "device": "cpu"}


def test_a_field_that_an_older_version_did_not_know_has_its_default(tmp_path):
    save(Trained(schedule=Schedule(epochs=3, device="cpu")), tmp_path)
    description(tmp_path, options={"schedule": {"epochs": 3}, "seed": 0})
    assert load(Trained, tmp_path).schedule == Schedule(epochs=3)


def test_an_option_left_out_of_the_description_has_its_default_dataclass(tmp_path):
    save(Trained(schedule=Schedule(epochs=3)), tmp_path)
    description(tmp_path, options={"seed": 0})
    assert load(Trained, tmp_path).schedule == Schedule()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 3, "momentum": 1}, "got an unexpected keyword argument 'momentum'"),
        ({"steps": 3}, "got an unexpected keyword argument 'steps'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ([3], "must be a mapping, not list"),
        (None, "must be a mapping, not NoneType"),
    ],
)
def test_fields_that_are_not_those_of_the_dataclass_are_refused(tmp_path, fields, message):
    save(Trained(), tmp_path)
    description(tmp_path, options={"schedule": fields, "seed": 0})
    place = re.escape(f"schedule in {tmp_path / 'model.json'} must be Schedule: ")
    with pytest.raises(ValueError, match=f"^{place}.*{re.escape(message)}$"):
        load(Trained, tmp_path)


STEPS = ["save_file", "_sha256", "_flush", "first rename", "second rename"]


def interrupt(monkeypatch, step, error):
    """Make the step fail, after its work where the work is a rename that happened."""

    def fail(*_):
        raise error

    if not step.endswith("rename"):
        monkeypatch.setattr(persistence, step, fail)
        return
    calls, replace = [], os.replace

    def replace_or_fail(source, target):
        calls.append(target)
        if len(calls) == (1 if step.startswith("first") else 2):
            raise error
        replace(source, target)

    monkeypatch.setattr(persistence.os, "replace", replace_or_fail)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_save_leaves_the_old_model_whole(tmp_path, monkeypatch, step, error):
    save(fake(size=1), tmp_path)
    before = files(tmp_path)
    interrupt(monkeypatch, step, error)
    with pytest.raises(type(error)):
        save(fake({"weights": np.zeros(5)}, size=2), tmp_path)
    assert files(tmp_path) == before
    monkeypatch.undo()
    assert load(Fake, tmp_path).size == 1


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_first_save_leaves_no_folder(tmp_path, monkeypatch, step):
    interrupt(monkeypatch, step, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save(fake(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_change_of_options_keeps_the_tensors_both_share(tmp_path, monkeypatch):
    save(fake(size=1), tmp_path)
    interrupt(monkeypatch, "second rename", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save(fake(size=2), tmp_path)
    loaded = load(Fake, tmp_path)
    assert loaded.size == 1
    np.testing.assert_array_equal(loaded.arrays["weights"], fake().arrays["weights"])


def test_an_interrupt_after_the_switch_leaves_the_new_model_whole(tmp_path, monkeypatch):
    save(fake(size=1), tmp_path)
    replace = os.replace

    def replace_then_fail(source, target):
        replace(source, target)
        if Path(target).name == "model.json":
            raise KeyboardInterrupt

    monkeypatch.setattr(persistence.os, "replace", replace_then_fail)
    with pytest.raises(KeyboardInterrupt):
        save(fake({"weights": np.zeros(5)}, size=2), tmp_path)
    loaded = load(Fake, tmp_path)
    assert loaded.size == 2
    assert loaded.arrays["weights"].shape == (5,)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_without_room_raises_an_oserror_and_leaves_the_old_model(tmp_path):
    import resource

    save(fake(size=1), tmp_path)
    before = files(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f" in {tmp_path}")) as caught:
            save(fake({"weights": np.zeros(10_000)}), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith("folder must be writable, got ")
    assert files(tmp_path) == before


def test_a_file_where_the_folder_should_be_is_refused_and_kept(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(FileExistsError, match="model"):
        save(fake(), tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


class Loose(Fake):
    """Takes options without naming them."""

    def __init__(self, **options):
        self.options = options


class Forgetful(Fake):
    """Does not store its option."""

    def __init__(self, *, regularization=1.0):
        self.arrays = {}


BAD_MODELS = [
    (Loose(), "Loose must name its options, got **options"),
    (Forgetful(), "Forgetful must store option regularization, got no attribute"),
    (fake(deep=float("nan")), "option deep must be a JSON value, got nan"),
    (fake(rate=float("inf")), "option rate must be a JSON value, got inf"),
    (fake(deep=[{1, 2}]), "option deep must be a JSON value, got {1, 2}"),
    (fake(deep=b"x"), "option deep must be a JSON value, got b'x'"),
    (fake(deep={1: 2}), "option deep must be a JSON value, got {1: 2}"),
    (fake(deep={"__tuple__": []}), "option deep must be a JSON value, got {'__tuple__': []}"),
    (fake(deep=np.array([1])), "option deep must be a JSON value, got array([1])"),
    (Trained(schedule={"epochs": 3}), "option schedule must be Schedule, got {'epochs': 3}"),
    (Trained(schedule=None), "option schedule must be Schedule, got None"),
    (
        Trained(schedule=Schedule(device=b"x")),
        "option schedule.device must be a JSON value, got b'x'",
    ),
    (fake({"names": np.array(["a"])}), "state names must be bool, int or float, got <U1"),
    (fake({"o": np.array([None])}), "state o must be bool, int or float, got object"),
    (fake({"c": np.array([1j])}), "state c must be bool, int or float, got complex128"),
    (
        fake({"__metadata__": np.ones(1)}),
        "state must have names other than __metadata__, got '__metadata__'",
    ),
    (fake({3: np.ones(1)}), "state must have names other than __metadata__, got 3"),
]


@pytest.mark.parametrize(("model", "message"), BAD_MODELS, ids=[row[1] for row in BAD_MODELS])
def test_a_model_that_cannot_be_kept_is_refused_before_anything_is_written(
    tmp_path, model, message
):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_folder_is_named(tmp_path):
    folder = tmp_path / "nowhere"
    message = re.escape(f"folder must exist, got {folder}")
    with pytest.raises(FileNotFoundError, match=f"^{message}$"):
        load(Fake, folder)


def test_a_folder_without_a_model_is_named(tmp_path):
    message = re.escape(f"folder must hold a saved model, got no {tmp_path / 'model.json'}")
    with pytest.raises(FileNotFoundError, match=f"^{message}$"):
        load(Fake, tmp_path)


def test_missing_tensors_are_named(tmp_path):
    save(fake(), tmp_path)
    (tensors,) = tmp_path.glob("tensors-*")
    tensors.unlink()
    message = re.escape(f"folder must hold a saved model, got no {tensors}")
    with pytest.raises(FileNotFoundError, match=f"^{message}$"):
        load(Fake, tmp_path)


def test_another_class_is_refused_with_both_names(tmp_path):
    save(fake(), tmp_path)
    message = re.escape(
        f"model_class must be {__name__}.Fake, the class saved in {tmp_path}, got {__name__}.Other"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        load(Other, tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b + b"\0"],
    ids=["truncated", "empty", "one bit flipped", "longer"],
)
def test_damaged_tensors_are_refused_with_both_checksums(tmp_path, damage):
    save(fake(), tmp_path)
    (tensors,) = tmp_path.glob("tensors-*")
    tensors.write_bytes(damage(tensors.read_bytes()))
    expected = json.loads((tmp_path / "model.json").read_text())["sha256"]
    pattern = f"^{re.escape(str(tensors))} must have sha256 {expected}, got [0-9a-f]{{64}}$"
    with pytest.raises(ValueError, match=pattern):
        load(Fake, tmp_path)


ESCAPE = "../" * 10 + "etc/passwd"
BAD_DESCRIPTIONS = [
    ({"format": 2}, "format of {path} must be 1, got 2, written by reclib " + reclib.__version__),
    ({"format": "1"}, "format of {path} must be 1, got '1', written by reclib 0.1.0"),
    ({"format": None}, "{path} must describe a saved model, got no format"),
    ({"class": None}, "class in {path} must be str, got None"),
    ({"options": [1]}, "options in {path} must be dict, got [1]"),
    ({"options": {"__tuple__": []}}, "options in {path} must be dict, got ()"),
    ({"sha256": 5}, "sha256 in {path} must be str, got 5"),
    ({"sha256": ESCAPE}, "sha256 in {path} must be 64 hex digits, got " + ESCAPE),
    (
        {"options": {"size": 1, "hook": "os.system"}},
        "options in {path} must be those of Fake: got an unexpected keyword argument 'hook'",
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"), BAD_DESCRIPTIONS, ids=[str(row[0])[:40] for row in BAD_DESCRIPTIONS]
)
def test_a_description_that_is_not_ours_is_refused(tmp_path, changes, message):
    save(fake(), tmp_path)
    description(tmp_path, **changes)
    message = re.escape(message.format(path=tmp_path / "model.json"))
    with pytest.raises(ValueError, match=f"^{message}$"):
        load(Fake, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"format": 1, "cla', b"\xff\xfe\x00", b"[" * 100_000, pickle.dumps({"format": 1})],
    ids=["empty", "truncated", "not text", "deep", "a pickle"],
)
def test_a_description_that_is_not_json_is_refused_with_its_path(tmp_path, content):
    save(fake(), tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    pattern = f"^{re.escape(str(tmp_path / 'model.json'))} must be JSON, got "
    with pytest.raises(ValueError, match=pattern):
        load(Fake, tmp_path)


class Bomb:
    """Pickles into a call that leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def test_a_pickle_in_place_of_the_tensors_does_not_run(tmp_path):
    save(fake(), tmp_path / "model")
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    sha256 = persistence.hashlib.sha256(bomb).hexdigest()
    (tmp_path / "model" / f"tensors-{sha256[:16]}.safetensors").write_bytes(bomb)
    description(tmp_path / "model", sha256=sha256)
    with pytest.raises(ValueError, match=r"\.safetensors must be safetensors, got "):
        load(Fake, tmp_path / "model")
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()  # the bomb was a real one


def test_nothing_is_imported_for_the_class_named_in_the_folder(tmp_path):
    save(fake(), tmp_path)
    description(tmp_path, **{"class": "antigravity.Model"})
    with pytest.raises(ValueError, match=r"^model_class must be antigravity\.Model"):
        load(Fake, tmp_path)
    assert "antigravity" not in sys.modules
