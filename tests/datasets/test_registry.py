import json
import re
from pathlib import Path

import pytest

from reclib.datasets import fetching, registry
from reclib.datasets.readme import README, readme
from reclib.datasets.registry import find, names, sources


def test_the_registry_knows_thirty_data_sets_and_all_their_files() -> None:
    assert len(names()) == 30
    assert sum(len(source.files) for source in sources().values()) == 1696
    assert sum(source.n_bytes for source in sources().values()) == 114_407_886


def test_every_name_and_alias_stands_for_one_data_set() -> None:
    words = [word for s in sources().values() for word in (s.name, *s.aliases)]
    assert len(words) == len(set(words))
    assert "shop" not in words


def test_every_file_has_a_sum_an_address_at_a_fixed_commit_and_a_path_below_its_set() -> None:
    for source in sources().values():
        assert re.fullmatch("[0-9a-f]{40}", source.commit)
        for file in source.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.n_bytes > 0
            assert file.url.startswith("https://raw.githubusercontent.com/")
            assert f"/{source.commit}/" in file.url
            assert file.path.startswith(f"{source.name}/")
            assert ".." not in file.path and " " not in file.path and "\\" not in file.path


def test_every_data_set_has_a_licence_class_and_a_chapter() -> None:
    for source in sources().values():
        assert source.use_class in ("A", "B", "C")
        assert source.licence and source.what and source.size
        assert all(re.fullmatch("[a-z]+/[a-z_]+", chapter) for chapter in source.chapters)
        assert source.chapters


def test_a_plus_in_a_file_name_is_quoted_in_its_address() -> None:
    (file,) = find("eshop-clothing-clicks").files
    assert file.path.endswith("/clickstream+data+for+online+shopping.zip")
    assert file.url.endswith("/data/clickstream%2Bdata%2Bfor%2Bonline%2Bshopping.zip")


def test_a_file_may_lie_elsewhere_in_its_repository() -> None:
    url = {file.path: file.url for file in find("chorus-icecat").files}
    address = (
        "https://raw.githubusercontent.com/querqy/chorus/96edf8b536e521be06cab910e0f6a9b25e3016fc"
    )
    assert url["chorus-icecat/Broad_Query_Set_rated.csv"] == (
        f"{address}/katas/Broad_Query_Set_rated.csv"
    )
    assert url["chorus-icecat/1.json.zip"] == (
        f"{address}/data-encoder/ecommerce/vectors/data/1.json.zip"
    )


def test_the_checksum_of_many_files_is_that_over_their_sorted_lines() -> None:
    assert find("clothing-cc0").checksum == (
        "7c76b3f6733733718391ce148c06bc16da48ab6a547cac755626d965c22571c5"
    )


def test_the_registry_agrees_with_the_manifest_of_the_mirror() -> None:
    mirror = fetching.mirror_folder()
    if mirror is None or not (mirror / "manifest.json").is_file():
        pytest.skip("no mirror with a manifest (RECLIB_MIRROR)")
    manifest = json.loads((mirror / "manifest.json").read_text(encoding="utf-8"))
    assert {entry["name"] for entry in manifest} == set(names())
    for entry in manifest:
        source = find(entry["name"])
        assert (source.use_class, source.repository, source.commit) == (
            entry["use_class"],
            entry["repository"],
            entry["commit"],
        )
        ours = {(f.path, f.n_bytes, f.sha256, f.url) for f in source.files}
        assert ours == {(f["path"], f["bytes"], f["sha256"], f["url"]) for f in entry["files"]}


def test_an_alias_finds_its_data_set() -> None:
    for alias, name in (
        ("amazon-beauty", "s3rec-beauty"),
        ("amazon-sports", "s3rec-sports"),
        ("lastfm", "s3rec-lastfm"),
        ("movielens-100k", "ml-100k"),
    ):
        assert find(alias).name == name


def test_an_unknown_name_is_refused_with_those_that_come_close() -> None:
    with pytest.raises(KeyError) as error:
        find("s3rec-beaty")
    assert error.value.args[0] == (
        "name must be a data set, got 's3rec-beaty'; did you mean s3rec-beauty or s3rec-lastfm or "
        "s3rec-sports?"
    )


def test_an_unknown_name_like_no_other_is_sent_to_the_list() -> None:
    with pytest.raises(KeyError) as error:
        find("zzz")
    assert error.value.args[0] == (
        "name must be a data set, got 'zzz'; see `python -m reclib.datasets list`"
    )


def test_a_package_outside_its_checkout_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / "registry.toml"
    monkeypatch.setattr(registry, "REGISTRY", path)
    with pytest.raises(FileNotFoundError) as error:
        names()
    assert str(error.value) == (
        f"the registry of data sets must lie at {path}, got nothing there; reclib.datasets works "
        "from a checkout of the project (pip install -e .)"
    )


def test_the_page_of_the_data_sets_is_up_to_date() -> None:
    assert README.read_text(encoding="utf-8") == readme(), "run python -m reclib.datasets readme"


def test_the_page_names_every_data_set_with_licence_and_checksum() -> None:
    page = readme()
    for source in sources().values():
        assert f"### {source.name}\n" in page
        assert source.licence in page
        assert f"checksum `{source.checksum}`" in page
