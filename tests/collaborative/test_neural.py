"""NCF against slow peers on vectors side by side, and planted truths it must find."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reclib.collaborative import neural
from reclib.collaborative.neural import GMF, NCF, NCFNetwork, PairMLP
from reclib.foundations.batching import PairBatch
from reclib.foundations.evaluation import evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.persistence import load, save
from reclib.foundations.training import Options, fit

N_USERS, N_ITEMS, D = 9, 13, 5
ARCHITECTURES = ("gmf", "mlp", "neumf")


def network(architecture: str = "neumf", dropout: float = 0.0, **options: Any) -> NCFNetwork:
    """A network whose weights are far from where they start."""
    parts: list[GMF | PairMLP] = []
    if architecture != "mlp":
        parts.append(GMF(N_USERS, N_ITEMS, factors=D))
    if architecture != "gmf":
        parts.append(PairMLP(N_USERS, N_ITEMS, factors=D, hidden=(8, 6, 4), dropout=dropout))
    made, generator = NCFNetwork(*parts, **options), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return made.eval()


class Peer(nn.Module):
    """NeuMF as the paper draws it: two towers, joined, and one linear layer; pair by pair."""

    def __init__(self, ours: NCFNetwork) -> None:
        super().__init__()
        gmf, mlp = ours.parts
        self.gmf, self.mlp = gmf, mlp
        layers: list[nn.Module] = []
        for layer in mlp.mlp.layers[:-1]:
            linear = nn.Linear(layer.in_features, layer.out_features)
            linear.load_state_dict(layer.state_dict())
            layers += [linear, nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        last = mlp.mlp.layers[-1]
        self.join = nn.Linear(D + last.in_features, 1)
        with torch.no_grad():
            self.join.weight.copy_(torch.cat([gmf.weights[None], last.weight], dim=1))
            self.join.bias.copy_(last.bias)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        product = self.gmf.users(users) * self.gmf.items(items)  # (B, D)
        beside = torch.cat([self.mlp.users(users), self.mlp.items(items)], dim=1)  # (B, 2D)
        return self.join(torch.cat([product, self.tower(beside)], dim=1)).squeeze(1)


def interactions(matrix: np.ndarray) -> Interactions:
    users, items = np.nonzero(matrix)
    return Interactions(users, items, n_users=len(matrix), n_items=matrix.shape[1])


def random_interactions(shape: tuple[int, int] = (N_USERS, N_ITEMS)) -> Interactions:
    return interactions(np.random.default_rng(0).random(shape) < 0.4)


def batch(n: int = 6, n_negatives: int = 3) -> PairBatch:
    generator = torch.Generator().manual_seed(5)

    def draw(size: int, *shape: int) -> Tensor:
        return torch.randint(size, shape, generator=generator)

    return PairBatch(draw(N_USERS, n), draw(N_ITEMS, n), draw(N_ITEMS, n, n_negatives))


# --- the networks


def test_neumf_equals_the_network_of_the_paper_pair_by_pair() -> None:
    ours = network().double()
    users, items = torch.arange(N_USERS).repeat_interleave(N_ITEMS), torch.arange(N_ITEMS)
    expected = Peer(ours).double()(users, items.repeat(N_USERS)).view(N_USERS, N_ITEMS)
    torch.testing.assert_close(ours(torch.arange(N_USERS), items), expected, rtol=1e-10, atol=1e-12)


def test_gmf_is_a_weighted_product_summed_over_coordinates() -> None:
    (part,) = network("gmf").parts
    found = part(torch.tensor([4, 1]), torch.arange(N_ITEMS)).detach().numpy()
    p, q, h = (x.detach().numpy() for x in (part.users.weight, part.items.weight, part.weights))
    for row, user in enumerate((4, 1)):
        expected = [sum(h[d] * p[user, d] * q[i, d] for d in range(D)) for i in range(N_ITEMS)]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)


def test_gmf_starts_as_a_dot_product() -> None:
    part = GMF(N_USERS, N_ITEMS, factors=D)
    expected = part.users.weight @ part.items.weight.T
    torch.testing.assert_close(part(torch.arange(N_USERS), torch.arange(N_ITEMS)), expected)


def test_the_first_layer_in_halves_equals_the_mlp_on_vectors_side_by_side() -> None:
    (part,) = network("mlp").double().parts
    for user in range(N_USERS):
        beside = torch.cat([part.users.weight[user].expand(N_ITEMS, -1), part.items.weight], dim=1)
        found = part(torch.tensor([user]), torch.arange(N_ITEMS))[0]
        torch.testing.assert_close(found, part.mlp(beside).squeeze(1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_items_of_ones_own_score_like_the_same_items_for_all(architecture: str) -> None:
    ours, users = network(architecture), torch.tensor([7, 0, 7])
    own = torch.tensor([[3, 3, 12, 0], [1, 2, 3, 4], [0, 12, 5, 6]])
    expected = ours(users, torch.arange(N_ITEMS)).gather(1, own)
    torch.testing.assert_close(ours(users, own), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", ["binary", "bpr"])
def test_gradients_reach_every_parameter(architecture: str, loss: str) -> None:
    ours = network(architecture, loss=loss)
    ours.loss(batch(40)).backward()
    for name, parameter in ours.named_parameters():
        if name.endswith("mlp.layers.3.bias") and loss != "binary":
            continue  # a number added to every score changes no order
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-5, name


def test_losses_equal_their_formulas() -> None:
    given = batch()
    logits = network()(given.users, torch.cat([given.positives[:, None], given.negatives], 1))
    positive, negative = logits[:, :1], logits[:, 1:]
    sigma = torch.sigmoid
    expected = {
        "binary": -torch.cat([sigma(positive), 1 - sigma(negative)], 1).log().mean(),
        "bpr": -sigma(positive - negative).log().mean(),
    }
    for loss, value in expected.items():
        torch.testing.assert_close(network(loss=loss).loss(given), value, msg=loss)


def test_regularization_prices_the_vectors_of_the_batch_and_nothing_else() -> None:
    given, ours = batch(), network(regularization=0.3)
    tables = [(part.users.weight, part.items.weight) for part in ours.parts]
    price = 0.0
    for user, positive, negatives in zip(*given, strict=True):
        for users, items in tables:
            price += users[user].square().sum() + items[positive].square().sum()
            price += sum(items[item].square().sum() for item in negatives)
    expected = network().loss(given) + 0.3 / 2 * price / 6
    torch.testing.assert_close(ours.loss(given), expected)


def test_dropout_acts_while_training_only() -> None:
    ours, items = network("mlp", dropout=0.5), torch.arange(N_ITEMS)
    users = torch.arange(N_USERS)
    torch.testing.assert_close(ours(users, items), network("mlp")(users, items))
    assert not torch.equal(ours.train()(users, items), ours(users, items))


def test_a_larger_table_starts_with_the_same_rows_and_streams_differ() -> None:
    small, large = (PairMLP(n, n, factors=D, hidden=(4,), seed=2) for n in (5, 8))
    torch.testing.assert_close(large.users.weight[:5], small.users.weight)
    gmf = GMF(5, 5, factors=D, seed=2)
    tables = [small.users, small.items, gmf.users, gmf.items]
    assert len({float(table.weight.detach().sum()) for table in tables}) == 4


# --- scoring


def fitted(architecture: str, n_users: int = N_USERS, n_items: int = N_ITEMS) -> NCF:
    options = Options(epochs=1, batch_size=32, learning_rate=0.01)
    model = NCF(architecture=architecture, factors=D, hidden=(8, 4), training=options)  # type: ignore[arg-type]
    return model.fit(random_interactions((n_users, n_items)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("cells", [1, 7 * 8, 10_000])
def test_block_size_does_not_change_scores(
    architecture: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, users = fitted(architecture), np.array([8, 0, 3, 3])
    whole = model.network_(torch.from_numpy(users), torch.arange(N_ITEMS)).detach().numpy()
    monkeypatch.setattr(neural, "_BLOCK_CELLS", cells)
    np.testing.assert_allclose(model.score(users), whole, rtol=1e-5, atol=1e-6)
    items = np.array([[1, 0], [12, 12], [4, 3], [3, 4]])
    expected = np.take_along_axis(whole, items, axis=1)
    np.testing.assert_allclose(model.score(users, items), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 40, 1), (40, 1, 7), (6, 5, 1000), (30, 50, 8), (3, 0, 2)])
def test_blocks_cover_every_pair_once_and_stay_small(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural, "_BLOCK_CELLS", 128)
    n_rows, n_columns, width = shape
    covered = np.zeros((n_rows, n_columns), dtype=int)
    for block in neural._blocks(n_rows, n_columns, width):
        covered[block] += 1
        assert covered[block].size * width <= max(128, width)
    assert (covered == 1).all()


def test_no_rows_give_no_scores() -> None:
    assert fitted("neumf").score(np.zeros(0, dtype=int)).shape == (0, N_ITEMS)


# --- the model


def two_by_three_blocks() -> tuple[Interactions, Interactions, np.ndarray]:
    """Users of two kinds who want other shelves of three; a fifth of what they want is withheld."""
    wanted = np.array([[1, 0, 1], [0, 1, 1]])[np.arange(50) % 2][:, np.arange(36) % 3]
    generator = np.random.default_rng(4)
    kept = generator.random(wanted.shape) < 0.8
    return interactions(wanted * kept), interactions(wanted * ~kept), wanted


@pytest.mark.parametrize(
    ("architecture", "loss"),
    [("gmf", "binary"), ("mlp", "binary"), ("mlp", "bpr"), ("neumf", "binary")],
)
def test_planted_blocks_are_recovered(architecture: str, loss: str) -> None:
    train, _, wanted = two_by_three_blocks()
    options = Options(epochs=12, batch_size=128, learning_rate=0.01)
    model = NCF(
        architecture=architecture,  # type: ignore[arg-type]
        loss=loss,  # type: ignore[arg-type]
        factors=4,
        hidden=(8, 4),
        regularization=0.01,
        training=options,
    ).fit(train)
    scores = model.score(np.arange(50))
    free = train.matrix().toarray() == 0
    worst = np.where(free & (wanted == 1), scores, np.inf).min(1)
    best = np.where(wanted == 0, scores, -np.inf).max(1)
    assert (worst > best).mean() > 0.9


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tiny_set_can_be_learned_by_heart(architecture: str) -> None:
    options = Options(epochs=100, batch_size=64, learning_rate=0.03)
    small: dict[str, Any] = {"factors": 8, "hidden": (16, 8), "regularization": 0.0}
    model = NCF(architecture=architecture, training=options, **small)  # type: ignore[arg-type]
    assert model.fit(random_interactions((6, 7))).history_.table["loss"].iloc[-1] < 0.05


def test_validation_chooses_the_epoch() -> None:
    train, validation, _ = two_by_three_blocks()
    options = Options(epochs=8, batch_size=128, learning_rate=0.01, patience=8)
    model = NCF(architecture="gmf", factors=4, training=options).fit(train, validation=validation)
    table = model.history_.table
    best = evaluate(model, history=train, test=validation)["ndcg@10"]
    assert best == table["ndcg@10"].max() == table["ndcg@10"].loc[model.history_.best_epoch]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_users_without_events_have_zero_vectors(architecture: str) -> None:
    train = Interactions([0, 0, 2], [1, 2, 0], n_users=4, n_items=5)
    options = Options(epochs=3, weight_decay=0.01)
    model = NCF(architecture=architecture, factors=D, training=options).fit(train)  # type: ignore[arg-type]
    for part in model.network_.parts:
        assert not part.users.weight[[1, 3]].any()
        assert part.users.weight[[0, 2]].all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_item_without_events_scores_below_those_with(architecture: str) -> None:
    taken = np.ones((20, 6), dtype=bool)
    taken[np.arange(20), np.arange(20) % 5], taken[:, 5] = False, False
    options = Options(epochs=30, batch_size=32, learning_rate=0.01)
    model = NCF(architecture=architecture, factors=D, training=options)  # type: ignore[arg-type]
    scores = model.fit(interactions(taken)).score(np.arange(20))
    assert (scores[:, 5] < scores[:, :5].mean(axis=1)).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_scores_the_same_to_the_bit(architecture: str, tmp_path: Any) -> None:
    model = fitted(architecture)
    again = load(NCF, save(model, tmp_path))
    np.testing.assert_array_equal(again.score([2, 5]), model.score([2, 5]))
    assert again.training == model.training and again.hidden == (8, 4)
    assert not again.network_.training


def test_fitting_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    fitted("neumf")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_seed_moves_everything_dropout_included(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def watched(*arguments: Any) -> Any:
        seen.append(arguments[2].seed)
        return fit(*arguments)

    monkeypatch.setattr(neural, "fit", watched)
    NCF(factors=D, training=Options(epochs=1), seed=7).fit(random_interactions())
    assert seen == [7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"architecture": "dot"},
            r"architecture must be one of ('neumf', 'gmf', 'mlp'), got 'dot'",
        ),
        ({"loss": "hinge"}, r"loss must be one of ('binary', 'bpr'), got 'hinge'"),
        ({"factors": 0}, "factors must be at least 1, got 0"),
        ({"hidden": ()}, "hidden must be one or more widths of at least 1, got ()"),
        ({"hidden": (4, 0)}, "hidden must be one or more widths of at least 1, got (4, 0)"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"n_negatives": 0}, "n_negatives must be at least 1, got 0"),
        ({"regularization": -0.1}, "regularization must be at least 0, got -0.1"),
        ({"regularization": float("nan")}, "regularization must be at least 0, got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        NCF(**options).fit(random_interactions())
    assert str(error.value) == message
