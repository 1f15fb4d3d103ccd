import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segbench.models.layers.aspp import ASPP, AtrousConv2d


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    kernel=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 9),
    groups_outputs=st.sampled_from([(4, 4), (4, 8), (1, 3), (1, 1)]),
    bias=st.booleans(),
)
def test_atrous_convolution_is_that_with_all_taps(size, kernel, dilation, groups_outputs, bias):
    torch.manual_seed(0)
    groups, outputs = groups_outputs
    shape = (4, outputs, kernel, 1, kernel // 2 * dilation, dilation, groups, bias)
    ours, plain = AtrousConv2d(*shape), nn.Conv2d(*shape)
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(2, 4, *size)
    outcomes = []
    for conv in (ours, plain):
        x = images.clone().requires_grad_()
        y = conv(x)
        gradients = torch.autograd.grad(y.square().sum(), [x, *conv.parameters()])
        outcomes.append([y, *gradients])
    torch.testing.assert_close(*outcomes, atol=1e-3, rtol=1e-4)


def test_no_tap_is_computed_that_sees_padding_alone():
    def flops(dilation: int) -> int:
        aspp = ASPP(8, 8, [dilation], 0.0).eval()
        with FlopCounterMode(display=False) as counter:
            aspp(torch.randn(1, 8, 12, 10))
        return counter.get_total_flops()

    tap = 2 * 8 * 8 * 12 * 10
    assert flops(9) - flops(10) == 6 * tap  # two columns of three
    assert flops(9) - flops(12) == 8 * tap
