"""From a registered file to bytes here that can be trusted: cache, then mirror, then origin.

    usable(file) = [size = n_bytes] and [sha256(bytes) = sha256],   checked before every use

- The cache is the folder ``RECLIB_DATA``, by default ``data/cache`` in the checkout.
- The mirror is the folder ``RECLIB_MIRROR``, where set; its files are used in place.
- From the origin a file is received under a name of its own and renamed when it is right, so that
  two processes may fetch at once and neither sees half a file. What a cut connection leaves behind,
  the next attempt resumes.

Source: the book's own; resuming is the Range request of RFC 9110, section 14.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

from tqdm import tqdm

from reclib.datasets.registry import CHECKOUT, File, Source, find

__all__ = ["available", "cache_folder", "fetch", "locate", "mirror_folder", "resolve", "state"]

Place = Literal["cache", "mirror", "origin"]
Report = Callable[[int], None]

_ATTEMPTS = 4
_PAUSE = 0.5  # seconds before the second attempt; doubles each time
_TIMEOUT = 30.0  # seconds without an answer
_BLOCK = 1 << 16
_CONNECTIONS = 8
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_folder() -> Path:
    """The folder that downloads go to; it need not exist yet."""
    return Path(os.environ.get("RECLIB_DATA") or CHECKOUT / "data" / "cache")


def mirror_folder() -> Path | None:
    """The read-only folder with copies, or None.

    Raises:
        ValueError: if ``RECLIB_MIRROR`` is set and no folder.
    """
    value = os.environ.get("RECLIB_MIRROR")
    if not value:
        return None
    if not Path(value).is_dir():
        raise ValueError(f"RECLIB_MIRROR must be a folder, got {value!r}")
    return Path(value)


def locate(file: File) -> tuple[Place, Path]:
    """Where a file is taken from, and its path; for the origin that in the cache."""
    cached, mirror = cache_folder() / file.path, mirror_folder()
    if cached.is_file():
        return "cache", cached
    if mirror is not None and (mirror / file.path).is_file():
        return "mirror", mirror / file.path
    return "origin", cached


def available(name: str) -> bool:
    """Whether all files lie in the cache or the mirror, so that nothing need be downloaded."""
    return all(locate(file)[0] != "origin" for file in find(name).files)


def state(file: File) -> Literal["ok", "missing", "wrong"]:
    """Whether the file that would be used is as registered; ``missing`` if it must be fetched."""
    place, path = locate(file)
    if place == "origin":
        return "missing"
    return "ok" if _measure(path) == (file.n_bytes, file.sha256) else "wrong"


def fetch(name: str, *, progress: bool = True) -> dict[str, Path]:
    """Make a data set usable here: download what is missing or wrong in cache and mirror.

    Args:
        name: name or alias.
        progress: show a bar while downloading, on a terminal only.

    Returns:
        The verified path of each file, keyed by its path inside the data set.

    Raises:
        KeyError: if the name is unknown.
        FileNotFoundError: if a file lies nowhere and the origin does not give it.
        ValueError: if the origin gives something with another size or sum.
        OSError: if the cache is full; PermissionError if it is read-only.
    """
    source = find(name)
    wanted = [file for file in source.files if state(file) != "ok"]
    return _collect(source, wanted, progress)


def resolve(name: str, *, progress: bool = True) -> dict[str, Path]:
    """As ``fetch``, but a wrong file in the cache or the mirror is an error and not replaced.

    Raises:
        ValueError: if a file here has another size or sum than registered.
    """
    source = find(name)
    for file in source.files:
        place, path = locate(file)
        if place != "origin":
            hint = f"; `python -m reclib.datasets fetch {source.name}` replaces it"
            _check(file, path, str(path), hint)
    missing = [file for file in source.files if locate(file)[0] == "origin"]
    return _collect(source, missing, progress)


def _collect(source: Source, wanted: list[File], progress: bool) -> dict[str, Path]:
    _download_all(source, wanted, progress)
    start = len(source.name) + 1
    return {file.path[start:]: locate(file)[1] for file in source.files}


def _measure(path: Path) -> tuple[int, str]:
    """Size and sha256; the files are small, so this is done before every use."""
    content = path.read_bytes()
    return len(content), hashlib.sha256(content).hexdigest()


def _check(file: File, path: Path, where: str, hint: str = "") -> None:
    n_bytes, sha256 = _measure(path)
    if (n_bytes, sha256) != (file.n_bytes, file.sha256):
        raise ValueError(
            f"{file.path} must have {file.n_bytes} bytes and sha256 {file.sha256}, got {n_bytes} "
            f"bytes and sha256 {sha256} from {where}{hint}"
        )


def _download_all(source: Source, files: Iterable[File], progress: bool) -> None:
    """Download several files over a few connections; the first failure stops the rest."""
    files = list(files)
    if not files:
        return
    total = sum(file.n_bytes for file in files)
    disable = None if progress else True  # None: no bar where there is no terminal
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc=source.name, leave=False, disable=disable)
        as bar,
        ThreadPoolExecutor(min(_CONNECTIONS, len(files))) as pool,
    ):  # fmt: skip
        jobs = [pool.submit(_download, file, _reporter(bar)) for file in files]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_bar_lock = threading.Lock()


def _reporter(bar: tqdm) -> Report:
    """Moves the bar to the number of bytes one file has; goes back where a file starts afresh."""
    shown = 0

    def report(have: int) -> None:
        nonlocal shown
        with _bar_lock:
            bar.update(have - shown)
        shown = have

    return report


def _download(file: File, report: Report) -> None:
    """Receive a file beside its place in the cache and rename it when it is right."""
    target = cache_folder() / file.path
    own = None
    try:
        own = _claim(target)
        if not _copied(file, own):
            _receive_patiently(file, own, report)
        _put(file, own, target)
    except OSError as error:
        if error.errno in _FULL:
            if own is not None:
                own.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f"the cache must have room for {file.path} ({file.n_bytes} bytes), got a full disk "
                f"at {cache_folder()}; set RECLIB_DATA to another folder",
            ) from error
        if own is None:
            raise PermissionError(
                f"the cache must be a folder that can be written, got {cache_folder()} "
                f"({error.strerror}); set RECLIB_DATA to another folder, or RECLIB_MIRROR to one "
                f"that holds {file.path}"
            ) from error
        raise
    finally:
        if own is not None:
            _leave(own, target)


def _copied(file: File, own: Path) -> bool:
    """Whether the mirror holds the file right (and the cache a wrong one, else nobody asks)."""
    mirror = mirror_folder()
    copy = None if mirror is None else mirror / file.path
    if copy is None or not copy.is_file() or _measure(copy) != (file.n_bytes, file.sha256):
        return False
    own.write_bytes(copy.read_bytes())
    return True


def _claim(target: Path) -> Path:
    """A file of this download alone, with what an earlier one left unfinished."""
    target.parent.mkdir(parents=True, exist_ok=True)
    own = target.with_name(f"{target.name}.{uuid4().hex[:12]}.part")
    try:
        os.replace(_rest(target), own)
    except FileNotFoundError:
        own.touch()
    return own


def _rest(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _leave(own: Path, target: Path) -> None:
    """Keep an unfinished file for the next download to resume; an empty one goes."""
    with suppress(OSError):
        if own.stat().st_size:
            os.replace(own, _rest(target))
        else:
            own.unlink()


def _put(file: File, own: Path, target: Path) -> None:
    try:
        os.replace(own, target)
    except PermissionError:  # Windows, while another process reads what it has just put there
        if not target.is_file() or _measure(target) != (file.n_bytes, file.sha256):
            raise
        own.unlink()


def _receive_patiently(file: File, own: Path, report: Report) -> None:
    """Attempts with growing pauses until the file is right, or more of them are of no use."""
    failure = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        failure, final = _attempt(file, own, report)
        if not failure:
            return
        if final:
            break
    raise FileNotFoundError(
        f"{file.path} must lie in the cache {cache_folder()} or the mirror "
        f"{mirror_folder() or '(none is set)'}, got neither, and {file.url} gave {failure}; run "
        f"`python -m reclib.datasets fetch {file.path.split('/')[0]}` where the network is open, "
        f"or set RECLIB_MIRROR to a folder that holds {file.path}"
    )


def _attempt(file: File, own: Path, report: Report) -> tuple[str, bool]:
    """What went wrong ("" for nothing), and whether it will go wrong again."""
    resumed = own.stat().st_size > 0
    try:
        n_bytes = _receive(file, own, report)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is there does not fit the origin's file
            os.truncate(own, 0)
        again = error.code >= 500 or error.code in (408, 416, 425, 429)
        return f"HTTP {error.code} {error.reason}", not again
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        return str(getattr(error, "reason", error)) or type(error).__name__, False
    if n_bytes < file.n_bytes:
        return f"{n_bytes} of {file.n_bytes} bytes", False
    try:
        _check(file, own, file.url)
    except ValueError:
        os.truncate(own, 0)
        if not resumed:
            raise
        return "a rest that does not fit", False
    return "", False


def _receive(file: File, own: Path, report: Report) -> int:
    """One request, resumed where something is there; returns the bytes there are now.

    Reads at most one block more than the file should have.
    """
    have = own.stat().st_size
    if have == file.n_bytes:
        return have
    if have > file.n_bytes:
        have = 0
    headers = {"User-Agent": "reclib"} | ({"Range": f"bytes={have}-"} if have else {})
    with urlopen(Request(file.url, headers=headers), timeout=_TIMEOUT) as answer:
        if answer.status != 206:
            have = 0  # the whole file, whatever was asked for
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            os.truncate(own, 0)
            raise OSError("another range than asked for")
        with own.open("r+b") as stream:
            stream.truncate(have)
            stream.seek(have)
            report(have)
            while have <= file.n_bytes and (block := answer.read(_BLOCK)):
                stream.write(block)
                have += len(block)
                report(have)
    return have
