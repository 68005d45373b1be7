"""The softmax over a catalogue in blocks, against torch's own."""

import pytest
import torch

from reclib.foundations import _catalogue
from reclib.foundations.networks import total_logsumexp


def example(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(7, 3, generator=generator).to(dtype).requires_grad_()
    items = torch.randn(11, 3, generator=generator).to(dtype).requires_grad_()
    return queries, items, torch.tensor([1, 3, 0, 2, 1, 1, 5])


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_value_and_gradients_equal_those_of_the_whole_table(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_catalogue, "_CPU_CELLS", 11 * rows)
    queries, items, weights = example()
    found = total_logsumexp(queries, items, weights)
    expected = (weights * (queries @ items.T).logsumexp(1)).sum()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for one, two in zip(
        torch.autograd.grad(3 * found, (queries, items)),
        torch.autograd.grad(3 * expected, (queries, items)),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_gradients_equal_finite_differences() -> None:
    queries, items, weights = example()
    assert torch.autograd.gradcheck(lambda q, y: total_logsumexp(q, y, weights), (queries, items))


def test_large_scores_do_not_overflow() -> None:
    queries, items, weights = example(torch.float32)
    found = total_logsumexp(100 * queries, 100 * items, weights)
    expected = (weights * (100 * queries @ (100 * items).T).logsumexp(1)).sum()
    torch.testing.assert_close(found, expected)
    assert torch.isfinite(torch.autograd.grad(found, items)[0]).all()


def test_under_autocast_gradients_stay_float32() -> None:
    queries, items, weights = example(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = total_logsumexp(queries, items, weights)
    assert found.dtype == torch.float32
    assert torch.autograd.grad(found, queries)[0].dtype == torch.float32
    expected = (weights * (queries @ items.T).logsumexp(1)).sum()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=0)  # bfloat16 has 8 bits


def test_one_weight_a_row_is_required() -> None:
    queries, items, _ = example()
    with pytest.raises(ValueError, match=r"^weights must have shape \(7,\), got \(7, 1\)$"):
        total_logsumexp(queries, items, torch.ones(7, 1))
