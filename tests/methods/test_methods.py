"""Methods: loss terms by name, gradients where the objective says so, and found without being listed."""

from __future__ import annotations

import pytest
import torch
from conftest import TranslationClip
from torch import nn

from reconet_bench.core.errors import UnknownName
from reconet_bench.core.ops import LUMINANCE_ANIMATION, luminance
from reconet_bench.core.registry import Registry
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.networks.base import Identity
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.networks.vgg import gram
from reconet_bench.training.crops import ClipCrops

TRAINABLE = sorted(name for name, method in METHODS.items() if method.trainable)


@pytest.fixture(scope="module")
def batch() -> Batch:
    frames, flows, masks, _ = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])[0]
    return Batch(frames[None], flows[None], masks[None], torch.tensor([LUMINANCE_ANIMATION]))


@pytest.fixture(scope="module")
def two() -> Batch:
    """A batch of two windows."""
    windows = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    frames, flows, masks, _ = (torch.stack(parts) for parts in zip(windows[0], windows[1], strict=True))
    return Batch(frames, flows, masks, torch.tensor([LUMINANCE_ANIMATION]))


@pytest.fixture
def context(loss_network) -> LossContext:
    painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    return LossContext(loss_network, StyleLoss.of(loss_network, painting, 64), torch.Generator().manual_seed(0))


def small_network() -> nn.Module:
    """Any network will do for an objective; this one is quick and has a gradient everywhere."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sigmoid())


def test_the_known_methods_are_found():
    assert {"reconet", "johnson", "dougherty", "dougherty-published", "identity"} <= set(METHODS)
    assert all(method.summary for _, method in METHODS.items())


def test_unknown_method_suggests_a_name():
    with pytest.raises(
        UnknownName, match=r"unknown method 'recnet': did you mean 'reconet'\? known: dissertation-code, "
    ):
        METHODS["recnet"]
    with pytest.raises(UnknownName) as caught:
        METHODS["zzz"]
    assert "did you mean" not in str(caught.value)


def test_a_plug_in_is_found_by_being_in_the_folder(tmp_path, monkeypatch):
    package = tmp_path / "tiny_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(
        "from reconet_bench.core.registry import Registry\nTOYS = Registry('toy', 'tiny_plugins')\n"
    )
    (package / "ball.py").write_text(
        "from tiny_plugins.base import TOYS\n\n@TOYS.register('ball')\nclass Ball:\n    colour = 'red'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from tiny_plugins.base import TOYS

    assert list(TOYS) == ["ball"]
    assert TOYS["ball"].colour == "red"
    with pytest.raises(ValueError, match="two toys are called 'ball'"):
        TOYS.register("ball")(object)
    assert isinstance(TOYS, Registry)


def trained_by(name: str) -> nn.Module:
    """What a method's objective calls: the small network where its output is all that is needed."""
    torch.manual_seed(0)
    return METHODS[name].training_module(METHODS[name].network()) if name == "gao2018" else small_network()


@pytest.mark.parametrize("name", TRAINABLE)
def test_objective_terms_are_those_that_have_weights(name, two, context):
    method = METHODS[name]
    terms = method.objective(trained_by(name), two, context)
    assert list(terms) == list(method.weights)
    for term, value in terms.items():
        assert value.ndim == 0
        assert value.isfinite()
        # The code's mask of content against stylised frame may leave no pixel at all.
        assert value > 0 or (name, term) == ("dissertation-code", "temporal_long")


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_term_trains_the_network(name, two, context):
    network = trained_by(name)
    for term, value in METHODS[name].objective(network, two, context).items():
        if (name, term) == ("dissertation-code", "temporal_long"):
            assert not value.requires_grad, "the code's long-term loss has no gradient"
            continue
        gradients = torch.autograd.grad(
            value, list(network.parameters()), retain_graph=True, allow_unused=name == "gao2018"
        )
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0, term


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_network_of_frames_to_frames(name):
    network = METHODS[name].network()
    assert isinstance(network, ReCoNet if METHODS[name].trainable else Identity)
    assert METHODS[name].network() is not network


class EndsApart(nn.Module):
    """A network with one parameter for each frame of a window, so that each end's gradient shows apart."""

    def __init__(self) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.tensor([0.1, -0.2, 0.3]))

    def forward(self, frames):
        return frames * 0.5 + self.shifts.view(3, 1, 1, 1)


def test_temporal_terms_reach_their_own_two_frames(batch, context):
    network = EndsApart()
    terms = METHODS["reconet"].objective(network, batch, context)
    short, long = (
        torch.autograd.grad(terms[name], network.shifts, retain_graph=True)[0]
        for name in ("temporal_short", "temporal_long")
    )
    # The near pair joins frames 0 and 1, the far pair frames 0 and 2; each has a gradient through both ends.
    assert short[0] != 0
    assert short[1] != 0
    assert short[2] == 0
    assert long[0] != 0
    assert long[1] == 0
    assert long[2] != 0
    assert float(long[0]) == pytest.approx(-float(long[2]), rel=1e-4)


def test_the_far_frame_alone_trains_the_network(batch, context):
    """With both near outputs cut off from the graph, the long-term term still has a gradient."""
    network = small_network()

    class FarOnly(nn.Module):
        def forward(self, frames):
            y = network(frames)
            return torch.cat((y[:2].detach(), y[2:]))

    long = METHODS["reconet"].objective(FarOnly(), batch, context)["temporal_long"]
    assert sum(float(g.abs().sum()) for g in torch.autograd.grad(long, list(network.parameters()))) > 0


def test_reconet_costs_nothing_over_time_where_the_output_moves_as_the_content(context):
    """Grey output that follows the content's luminance exactly: the luminance constraint is met."""
    frames = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))  # light and all change at random
    batch = Batch(
        frames, torch.zeros(1, 2, 2, 32, 32), torch.ones(1, 2, 1, 32, 32), torch.tensor([LUMINANCE_ANIMATION])
    )

    class Grey(nn.Module):
        def forward(self, x):
            return luminance(x, LUMINANCE_ANIMATION).expand(-1, 3, -1, -1)

    terms = METHODS["reconet"].objective(Grey(), batch, context)
    assert float(terms["temporal_short"]) == pytest.approx(0, abs=1e-10)
    assert float(terms["temporal_long"]) == pytest.approx(0, abs=1e-10)
    plain = METHODS["reconet"].objective(Identity(), batch, context)
    assert float(plain["temporal_short"]) > 1e-2


def test_content_and_style_are_sums_over_the_two_frames(context, loss_network):
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.rand(2, 3, 32, 32, generator=generator) for _ in range(2))
    terms = perceptual_terms(x, y, context)
    content = style = 0.0
    for k in range(2):
        of_x, of_y = loss_network(x[k : k + 1]), loss_network(y[k : k + 1])
        content += float(((of_x["relu3_3"] - of_y["relu3_3"]) ** 2).mean())
        style += sum(
            float(((gram(of_y[name])[0] - target) ** 2).mean()) for name, target in context.style.levels[0].items()
        )
    assert float(terms["content"]) == pytest.approx(content, rel=1e-4)
    assert float(terms["style"]) == pytest.approx(style, rel=1e-4)


def test_methods_without_a_temporal_term_ignore_motion(batch, context):
    other = Batch(batch.frames, batch.flows + 3, 1 - batch.masks, batch.luminance)
    for name in ("johnson", "dougherty"):
        one, again = (
            METHODS[name].objective(
                small_network(), b, LossContext(context.perceptual, context.style, torch.Generator().manual_seed(1))
            )
            for b in (batch, other)
        )
        assert {k: float(v.detach()) for k, v in one.items()} == {k: float(v.detach()) for k, v in again.items()}


def test_pop_is_the_price_of_noise_and_comes_from_the_generator(batch, context):
    method = METHODS["dougherty"]

    def pop(network: nn.Module, seed: int) -> float:
        seeded = LossContext(context.perceptual, context.style, torch.Generator().manual_seed(seed))
        return float(method.objective(network, batch, seeded)["pop"])

    class Deaf(nn.Module):
        def forward(self, x):
            return torch.full_like(x, 0.5) + 0.01 * x.mean().detach() * torch.linspace(0, 1, x.shape[-1])

    assert pop(Deaf(), 0) == 0
    assert pop(Identity(), 0) == pop(Identity(), 0) != pop(Identity(), 1)
    # 250 draws of 1,024 pixels leave 22 % touched; the variance of a uniform integer in ±30 is 310.
    assert pop(Identity(), 0) == pytest.approx(0.217 * 310 / 255**2, rel=0.2)


def test_the_pop_loss_of_normalised_outputs_is_that_over_the_squared_deviation(batch, context):
    """A network that answers in red alone: its deviation over ImageNet is 0.229."""

    class Red(nn.Module):
        def forward(self, x):
            return x * x.new_tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1)

    def pop(**options) -> float:
        seeded = LossContext(context.perceptual, context.style, torch.Generator().manual_seed(0), options)
        return float(METHODS["dougherty"].objective(Red(), batch, seeded)["pop"])

    assert pop() == pop(normalised_pop=False) > 0
    assert pop(normalised_pop=True) == pytest.approx(pop() / 0.229**2, rel=1e-5)


@pytest.mark.parametrize("name", ["johnson", "dougherty"])
def test_the_content_loss_is_taken_where_it_is_asked_for(name, batch, context, loss_network):
    network = small_network()
    x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
    with torch.no_grad():
        of_x, of_y = loss_network(x), loss_network(network(x))
    for tap in ("relu3_3", "relu2_2"):
        asked = LossContext(context.perceptual, context.style, torch.Generator().manual_seed(0), {"content_tap": tap})
        expected = 2 * float(((of_x[tap] - of_y[tap]) ** 2).mean())
        assert float(METHODS[name].objective(network, batch, asked)["content"].detach()) == pytest.approx(
            expected, rel=1e-4
        )
    plain = METHODS[name].objective(network, batch, context)["content"]
    assert float(plain.detach()) == pytest.approx(
        2 * float(((of_x["relu3_3"] - of_y["relu3_3"]) ** 2).mean()), rel=1e-4
    )


def test_as_published_differs_from_as_described_in_the_pop_weight_alone():
    published, described = METHODS["dougherty-published"], METHODS["dougherty"]
    assert published.weights["pop"] == 0 < described.weights["pop"]
    assert {**published.weights, "pop": None} == {**described.weights, "pop": None}
    assert type(published).objective is type(described).objective
    # Without the pop loss it is Johnson's training.
    assert {k: w for k, w in published.weights.items() if w} == METHODS["johnson"].weights


def test_identity_has_nothing_to_train(batch, context):
    with pytest.raises(TypeError, match="nothing to train"):
        METHODS["identity"].objective(Identity(), batch, context)
