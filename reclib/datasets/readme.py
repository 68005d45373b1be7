"""The page ``data/README.md``, written from the registry so that both always agree.

    python -m reclib.datasets readme

Source: the book's own.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

from pathlib import Path

from reclib.datasets.registry import REGISTRY, Source, sources

__all__ = ["README", "readme", "write"]

README = REGISTRY.with_name("README.md")

_HEAD = """\
# Data

*Written from `registry.toml` by `python -m reclib.datasets readme`; a test holds them together.*

Every chapter runs on the simulated shop, which needs no download. Real data are for the tables that
stand beside published numbers. This project holds none of their files: `reclib.datasets.load(NAME)`
takes them from the first place that has them, and checks size and sha256 before every use.

1. The **cache**: the folder `RECLIB_DATA`, by default `data/cache` here (git ignores it).
2. The **mirror**: the folder `RECLIB_MIRROR`, where it is set; read-only, laid out as `NAME/FILE`.
   A class without internet needs one copy of it.
3. The **origin**, at a fixed commit, with retries; a cut download goes on where it stopped.

```console
$ python -m reclib.datasets list           # every set, and where it comes from on this machine
$ python -m reclib.datasets fetch ml-100k  # download, or replace what is damaged
$ python -m reclib.datasets verify         # each file: ok, missing or wrong
```

## Terms

| class | meaning |
|---|---|
| A | an open licence is stated; may be shown and passed on with its notice |
| B | published for research, no open licence seen; you download it from its origin |
| C | its terms forbid passing it on, or the rights are unclear; you download it under those terms |

What is said of terms comes from the repositories' own texts. A repository's licence covers what its
authors own and does not change the terms of the original data: read these before you publish
anything.

## Data sets

{overview}

The checksum of a set with one file is the file's sha256; with several, the sha256 over the lines
`sha256  NAME/FILE`, sorted by path. `registry.toml` has that of every file.
{details}"""


def readme() -> str:
    """The text of ``data/README.md``."""
    known = sources().values()
    overview = "\n".join(
        ["| name | alias | what | size | class |", "|---|---|---|--:|---|"]
        + [
            f"| [{s.name}](#{s.name}) | {', '.join(s.aliases)} | {s.what} | {_size(s.n_bytes)} | "
            f"{s.use_class} |"
            for s in known
        ]
    )
    return _HEAD.format(overview=overview, details="".join(map(_section, known)))


def write(path: Path) -> None:
    """Write the page to a file."""
    path.write_text(readme(), encoding="utf-8", newline="\n")


def _section(source: Source) -> str:
    n = len(source.files)
    files = f"{n:,} files" if n > 1 else "1 file"
    return f"""
### {source.name}

{source.what}.

- **Counts**: {source.size}
- **Part**: {source.part}
- **Used in**: {", ".join(f"`{chapter}`" for chapter in source.chapters)}
- **Format**: {source.format}
- **Licence** (class {source.use_class}): {source.licence}
- **Origin**: <{source.repository}> at `{source.commit}`
- **Files**: {files}, {source.n_bytes:,} bytes, checksum `{source.checksum}`
"""


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"
