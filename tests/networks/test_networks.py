"""The network: its size on paper, any size of frame, and padding that is the same sum as PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reconet_bench.networks.base import Identity, NetworkOptions
from reconet_bench.networks.layers import ReflectionPad, ResidualBlock, escapable_tanh
from reconet_bench.networks.reconet import ReCoNet


@pytest.fixture(scope="module")
def network() -> ReCoNet:
    torch.manual_seed(0)
    return ReCoNet().eval()


@pytest.mark.parametrize("order", ["standard", "dissertation-code"])
def test_it_has_the_parameters_of_the_dissertation(order):
    assert sum(p.numel() for p in ReCoNet(NetworkOptions(residual_order=order)).parameters()) == 1_679_235


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 19), (18, 33), (31, 16), (44, 58)])
def test_any_size_goes_in_and_the_same_comes_out(network, height, width):
    frame = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = network(frame)
    assert out.shape == frame.shape
    assert 0 <= out.min() < out.max() <= 1
    assert out.isfinite().all()
    with torch.no_grad():  # frames of a batch do not see one another
        torch.testing.assert_close(network(frame[1:]), out[1:], atol=1e-5, rtol=0)


def test_the_whole_range_can_be_reached(network):
    """The tanh ends at 0 and 1, not at −1 and 1 nor short of either."""
    with torch.no_grad():
        bias = network.decoder[-1].bias
        before = bias.clone()
        bias.copy_(torch.tensor([-100.0, 0.0, 100.0]))
        out = network(torch.full((1, 3, 16, 16), 0.5))
        bias.copy_(before)
    assert out[:, 0].max() == 0
    assert out[:, 2].min() == 1


def test_the_output_is_a_plain_tanh_with_or_without_gradients(network):
    x = torch.linspace(-9, 9, 50)
    assert torch.equal(escapable_tanh(x), torch.tanh(x))
    assert torch.equal(escapable_tanh(x.clone().requires_grad_()).detach(), torch.tanh(x))
    frame = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        expected = network(frame)
    torch.testing.assert_close(network(frame).detach(), expected)


@pytest.mark.parametrize("plain", [False, True])
def test_a_network_may_have_the_gradient_of_the_tanh_itself(plain):
    torch.manual_seed(0)
    network = ReCoNet(NetworkOptions(plain_tanh=plain))
    bias = network.decoder[-1].bias
    torch.nn.init.constant_(bias, 30.0)
    network(torch.rand(1, 3, 16, 16)).sum().backward()
    assert (float(bias.grad.abs().max()) < 1e-6) is plain, "saturated white stays white, or does not"


@pytest.mark.parametrize("pull", [1.0, -1.0])
def test_the_gradient_of_a_saturated_output_is_alive_inwards_only(pull):
    """A positive gradient lowers the output: inwards where it is above zero, outwards where it is below."""
    x = torch.tensor([-6.0, -0.5, 0.5, 6.0], requires_grad=True)
    escapable_tanh(x).backward(torch.full((4,), pull))
    true = 1 - torch.tanh(x.detach()) ** 2
    expected = true.clone()
    expected[3 if pull > 0 else 0] = 0.1
    torch.testing.assert_close(x.grad, pull * expected)
    assert float(true[0]) < 1e-4


def test_a_padded_frame_is_cropped_from_the_top_left(network):
    """An odd frame gives what its reflected extension to a multiple of four gives, cut to size."""
    frame = torch.rand(1, 3, 18, 21, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = network(F.pad(frame, (0, 3, 0, 2), mode="reflect"))
        assert torch.equal(network(frame), whole[..., :18, :21])


def test_residual_orders_differ_and_others_are_refused():
    torch.manual_seed(0)
    standard = ReCoNet()
    odd = ReCoNet(NetworkOptions(residual_order="dissertation-code"))
    convolutions = [[m for m in net.modules() if isinstance(m, torch.nn.Conv2d)] for net in (standard, odd)]
    for one, other in zip(*convolutions, strict=True):
        other.load_state_dict(one.state_dict())
    frame = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert (standard(frame) - odd(frame)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="order must be 'standard' or 'dissertation-code', got 'relu'"):
        ResidualBlock(8, "relu")


def test_a_residual_block_adds_its_input():
    block = ResidualBlock(4)
    torch.nn.init.zeros_(block.body[1][2].weight)
    torch.nn.init.zeros_(block.body[1][2].bias)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("pad", [1, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(5, 6), (9, 16)])
def test_reflection_pad_equals_pytorchs_in_both_directions(pad, layout, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, height, width, generator=generator).to(memory_format=layout)
    upstream = torch.randn(2, 3, height + 2 * pad, width + 2 * pad, generator=generator).to(memory_format=layout)
    gradients = []
    for function in (ReflectionPad(pad), lambda t: F.pad(t, (pad,) * 4, mode="reflect")):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = function(leaf)
        out.backward(upstream)
        gradients.append((out.detach(), leaf.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-5, rtol=1e-5)


def test_reflection_pad_passes_gradcheck():
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(ReflectionPad(2), (x,))


def test_reflection_pad_is_a_plain_pad_where_no_gradient_is_asked_for():
    x = torch.randn(1, 2, 6, 6)
    assert ReflectionPad(2)(x).grad_fn is None
    with torch.no_grad():
        assert ReflectionPad(2)(x.requires_grad_()).grad_fn is None


def test_identity_returns_a_copy():
    x = torch.rand(1, 3, 16, 17)
    out = Identity()(x)
    assert torch.equal(out, x)
    assert out.data_ptr() != x.data_ptr()
