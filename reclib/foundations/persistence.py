"""Keep a fitted model in a folder and bring it back, without pickle.

A folder holds ``model.json`` (class, options, sizes, versions, sha256) and
``tensors-<sha256>.safetensors`` (what ``model.state()`` returned), so that ``load(Class, folder)``
gives ``Class(**options)`` with ``set_state(state)``, every array bit for bit as it was.

- Options are the constructor's parameters, read from the attributes of the same name. They must be
  JSON values; a tuple comes back as a tuple, a NumPy scalar as a Python number. Where the default
  is a dataclass, the option is one too: its fields are written, and its class is the default's.
- A save is complete or did not happen. The tensors are named by their sha256 and written first;
  renaming ``model.json`` is the one step that turns the folder from the old model to the new, so a
  full disk or a killed process leaves the old model. One process saves to a folder at a time.
- Loading reads numbers and text only: no code in the folder can run, no file outside it is read.

Source: the safetensors format, https://huggingface.co/docs/safetensors.

Differences from the paper: none.

Chapter: ``foundations/first_recommender``.
"""

import contextlib
import dataclasses
import hashlib
import inspect
import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from reclib import __version__

__all__ = ["load", "save"]

_FORMAT = 1
_TUPLE = "__tuple__"
_KINDS = "biuf"  # bool, int, unsigned int, float


class _Model(Protocol):
    def state(self) -> dict[str, np.ndarray]: ...

    def set_state(self, state: dict[str, np.ndarray], /) -> None: ...


_M = TypeVar("_M", bound=_Model)


def save(model: _Model, folder: str | os.PathLike[str]) -> Path:
    """Write the model's options and state into ``folder``, made if missing; other files stay.

    Args:
        model: has ``state() -> dict[str, array]`` and stores its options as attributes.
        folder: where to write; a model saved there before is replaced.

    Returns:
        The folder.

    Raises:
        ValueError: if an option is neither a JSON value nor a dataclass of them, or an array is not
            numeric.
        OSError: if the folder cannot be written; an older model in it is then unharmed.
    """
    options, arrays = _options(model), _arrays(model.state())
    description: dict[str, Any] = {
        "format": _FORMAT,
        "reclib": __version__,
        "class": _class_name(type(model)),
        "options": options,
        "sizes": {name: [str(array.dtype), *array.shape] for name, array in arrays.items()},
    }
    folder = Path(folder)
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    working = folder / f".saving-{os.getpid()}"  # beside, so that a rename is enough
    tensors, text = working / "tensors.safetensors", working / "model.json"
    target: Path | None = None
    try:
        working.mkdir(exist_ok=True)
        save_file(arrays, tensors)
        description["sha256"] = _sha256(tensors)
        text.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        shutil.copymode(text, tensors)  # safetensors makes files that only their owner reads
        _flush(tensors)
        _flush(text)
        new = _tensors(folder, description["sha256"])
        target = None if new.exists() else new
        os.replace(tensors, new)
        os.replace(text, folder / "model.json")
    except BaseException as error:
        if target and text.exists():  # model.json is still the old one
            target.unlink(missing_ok=True)
        shutil.rmtree(working, ignore_errors=True)
        if not existed:
            with contextlib.suppress(OSError):  # somebody put another file there
                folder.rmdir()
        if isinstance(error, SafetensorError):  # how safetensors reports a full disk
            raise OSError(f"folder must be writable, got {error} in {folder}") from error
        raise
    for path in folder.glob(".saving-*"):  # ours, and of saves that were killed
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("tensors-*.safetensors"):
        if path != new:
            path.unlink(missing_ok=True)
    return folder


def load(model_class: type[_M], folder: str | os.PathLike[str]) -> _M:
    """The model of class ``model_class`` that :func:`save` wrote into ``folder``.

    Raises:
        FileNotFoundError: if the folder or one of its files is missing.
        ValueError: if a file is damaged, or was written for another class or format.
    """
    folder = Path(folder)
    description = _description(folder)
    if description["class"] != _class_name(model_class):
        raise ValueError(
            f"model_class must be {description['class']}, the class saved in {folder}, "
            f"got {_class_name(model_class)}"
        )
    options = _rebuilt(model_class, description["options"], folder / "model.json")
    try:
        inspect.signature(model_class).bind(**options)
    except TypeError as error:
        raise ValueError(
            f"options in {folder / 'model.json'} must be those of {model_class.__name__}: {error}"
        ) from None
    tensors = _tensors(folder, description["sha256"])
    if not tensors.is_file():
        raise FileNotFoundError(f"folder must hold a saved model, got no {tensors}")
    found = _sha256(tensors)
    if found != description["sha256"]:
        raise ValueError(f"{tensors} must have sha256 {description['sha256']}, got {found}")
    try:
        state = load_file(tensors)
    except SafetensorError as error:
        raise ValueError(f"{tensors} must be safetensors, got {error}") from error
    model = model_class(**options)
    model.set_state(state)
    return model


def _options(model: Any) -> dict[str, Any]:
    options = {}
    for name, parameter in inspect.signature(type(model)).parameters.items():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise ValueError(f"{type(model).__name__} must name its options, got {parameter}")
        if not hasattr(model, name):
            raise ValueError(f"{type(model).__name__} must store option {name}, got no attribute")
        value = getattr(model, name)
        if not dataclasses.is_dataclass(parameter.default):
            options[name] = _encoded(name, value)
            continue
        kind = type(parameter.default)
        if type(value) is not kind:
            raise ValueError(f"option {name} must be {kind.__name__}, got {value!r}")
        fields = [field.name for field in dataclasses.fields(kind) if field.init]
        options[name] = {f: _encoded(f"{name}.{f}", getattr(value, f)) for f in fields}
    return options


def _rebuilt(model_class: type, options: dict[str, Any], path: Path) -> dict[str, Any]:
    """The options with each dataclass made from its fields; its class is that of the default."""
    rebuilt = dict(options)
    for name, parameter in inspect.signature(model_class).parameters.items():
        if name not in options or not dataclasses.is_dataclass(parameter.default):
            continue
        kind: Any = type(parameter.default)
        try:
            rebuilt[name] = kind(**options[name])
        except (TypeError, ValueError) as error:  # an unknown field, or a value out of range
            raise ValueError(f"{name} in {path} must be {kind.__name__}: {error}") from None
    return rebuilt


def _encoded(name: str, value: Any) -> Any:
    """The value as JSON, tuples marked."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        parts = [_encoded(name, part) for part in value]
        return {_TUPLE: parts} if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        if _TUPLE not in value:
            return {key: _encoded(name, part) for key, part in value.items()}
    raise ValueError(f"option {name} must be a JSON value, got {value!r}")


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if isinstance(value, dict):
        if list(value) == [_TUPLE] and isinstance(value[_TUPLE], list):
            return tuple(_decoded(value[_TUPLE]))
        return {key: _decoded(part) for key, part in value.items()}
    return value


def _arrays(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state as contiguous arrays; zero-dimensional ones stay so."""
    arrays = {}
    for name, values in state.items():
        if not isinstance(name, str) or name == "__metadata__":  # a word of the format
            raise ValueError(f"state must have names other than __metadata__, got {name!r}")
        array = np.asarray(values, order="C")
        if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
            raise ValueError(f"state {name} must be bool, int or float, got {array.dtype}")
        arrays[name] = array
    return arrays


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must exist, got {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"folder must hold a saved model, got no {path}")
    try:
        description = _decoded(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:  # ValueError: also text that is not UTF-8
        raise ValueError(f"{path} must be JSON, got {error}") from error
    if not isinstance(description, dict) or "format" not in description:
        raise ValueError(f"{path} must describe a saved model, got no format")
    if description["format"] != _FORMAT:
        raise ValueError(
            f"format of {path} must be {_FORMAT}, got {description['format']!r}, "
            f"written by reclib {description.get('reclib')}"
        )
    for key, kind in (("class", str), ("options", dict), ("sha256", str)):
        if not isinstance(description.get(key), kind):
            raise ValueError(f"{key} in {path} must be {kind.__name__}, got {description.get(key)}")
    if not re.fullmatch("[0-9a-f]{64}", description["sha256"]):  # it names a file
        raise ValueError(f"sha256 in {path} must be 64 hex digits, got {description['sha256']}")
    return description


def _class_name(model_class: type) -> str:
    return f"{model_class.__module__}.{model_class.__qualname__}"


def _tensors(folder: Path, sha256: str) -> Path:
    return folder / f"tensors-{sha256[:16]}.safetensors"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
