"""Which files a piece of code depends on, and their digests.

A chapter or a row of results is up to date while the digest of everything it reads is unchanged.
What it reads is the import closure of its code: the modules it names, the modules those name, and
the packages around them. Imports inside functions count, and so do strings that are a module's
dotted name, for modules that are loaded by name. A package that does nothing but hand on names of
its modules counts as the modules whose names are taken: else every change in it would touch all
who use it. Standard library only.
"""

import ast
import functools
import hashlib
import io
import json
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["closure", "code_digest", "digest", "notebook_roots", "source_roots"]


def closure(root: Path, names: Iterable[str], *, without: Sequence[str] = ()) -> list[Path]:
    """Return the files under ``root`` that importing ``names`` executes, sorted.

    Args:
        root: the folder that holds the packages.
        names: dotted names; those that are no module under ``root`` are skipped.
        without: packages that are left out, with what only they import.
    """
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        for name in _executed(root, waiting.pop()):
            path = _module_file(root, name)
            if name in found or path is None or not set(without).isdisjoint(_with_packages(name)):
                continue
            found[name] = path
            package = path.name == "__init__.py"
            waiting.extend(_named(path.read_text(encoding="utf-8"), name, package=package))
    return sorted(found.values())


def _executed(root: Path, name: str) -> list[str]:
    """Return the modules that a dotted name stands for: its own, or those that define it."""
    modules = [part for part in _with_packages(name) if _module_file(root, part)]
    if not modules:
        return []
    handed_on = {part: _handed_on(root, part) for part in modules}
    around = [part for part in modules[:-1] if handed_on[part] is None]
    own, rest = modules[-1], name[len(modules[-1]) + 1 :].partition(".")[0]
    origin = (handed_on[own] or {}).get(rest)
    return around + (_executed(root, origin) if origin else [own])


def _handed_on(root: Path, package: str) -> dict[str, str] | None:
    """Return where the names of a package come from, if it does nothing but hand them on."""
    path = _module_file(root, package)
    if path is None or path.name != "__init__.py":
        return None
    origins: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            start = _absolute(package, node.level, node.module)
            origins |= {each.asname or each.name: f"{start}.{each.name}" for each in node.names}
        elif not (
            (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        ):
            return None
    return origins or None


def source_roots(source: str, module: str = "", *, package: bool = False) -> frozenset[str]:
    """Return the dotted names that a source mentions in imports and in whole strings.

    Args:
        source: Python source.
        module: dotted name of the module, against which relative imports are resolved.
        package: the source is an ``__init__.py``, which is its own package.
    """
    names = _named(source, module, package=package)
    return frozenset(name for given in names for name in _with_packages(given))


@functools.cache
def _named(source: str, module: str = "", *, package: bool = False) -> frozenset[str]:
    """Return the dotted names in a source, without the packages around them."""
    parent = module if package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(parent, node.level, node.module)
            names.update(f"{start}.{alias.name}".removesuffix(".*") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "." in node.value and all(p.isidentifier() for p in node.value.split(".")):
                names.add(node.value)
    return frozenset(names)


def notebook_roots(notebook: dict[str, Any]) -> set[str]:
    """Return the dotted names that a notebook's metadata and code cells mention."""
    names = set(notebook.get("metadata", {}).get("reclib", {}).get("modules", []))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            plain = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
            names |= _named(plain)
    return names


def digest(root: Path, paths: Iterable[Path], *extra: Any) -> str:
    """Return the SHA-256 of files (their place under ``root`` and bytes) and of plain values."""
    total = hashlib.sha256(json.dumps(extra, sort_keys=True).encode())
    for path in sorted(set(paths)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()


def code_digest(root: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 of Python files without comments, docstrings and blank lines."""
    total = hashlib.sha256()
    for path in sorted(set(paths)):
        content = _bare(path.read_text(encoding="utf-8"))
        total.update(f"{path.relative_to(root).as_posix()}\n{content}\n".encode())
    return total.hexdigest()


def _with_packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _module_file(root: Path, name: str) -> Path | None:
    stem = root.joinpath(*name.split("."))
    for path in (stem / "__init__.py", stem.with_name(stem.name + ".py")):
        if path.is_file():
            return path
    return None


def _absolute(package: str, level: int, module: str | None) -> str:
    if level == 0:
        return module or ""
    parts = package.split(".")
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, *([module] if module else [])])


@functools.cache
def _bare(source: str) -> str:
    """Return the source with comments, docstrings and blank lines blanked out."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        scopes = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, scopes) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            for number in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[number] = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())
