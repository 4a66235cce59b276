"""The encoder of the paper against mmaction2's ST-GCN and the paper."""

import pytest
import torch
from mmaction.models.backbones.stgcn import STGCN

from aimclr_mm.models import AimCLRSTGCN
from aimclr_mm.skeletons import NTU25


@pytest.mark.parametrize('training', [False, True])
def test_blocks_one_to_nine_are_those_of_mmaction2(training):
    ours = AimCLRSTGCN('ntu25', tcn_dropout=0.0).train(training)
    graph = dict(layout=NTU25.graph(), mode='stgcn_spatial')
    theirs = STGCN(graph, base_channels=16, tcn_dropout=0.0).train(training)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.05 * torch.randn_like(p))
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith('gcn.9.')}
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith('gcn.9.') for name in missing)

    ninth = {}
    for name, backbone in (('ours', ours), ('theirs', theirs)):
        backbone.gcn[8].register_forward_hook(
            lambda module, args, out, name=name: ninth.update({name: out})
        )
    x = torch.randn(2, 2, 50, 25, 3)
    with torch.no_grad():
        out, reference = ours(x), theirs(x)
    assert ninth['ours'].shape == (4, 64, 13, 25)
    assert torch.equal(ninth['ours'], ninth['theirs'])
    assert out.shape == (2, 2, 256, 13, 25) and reference.shape == (2, 2, 64, 13, 25)


def test_channels_and_strides_of_the_paper():
    blocks = AimCLRSTGCN().gcn
    channels = [block.gcn.bn.num_features for block in blocks]
    assert channels == [16] * 4 + [32] * 3 + [64] * 2 + [256]
    assert [block.tcn.conv.stride[0] for block in blocks] == [1, 1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert all(block.tcn.conv.kernel_size == (9, 1) for block in blocks)
    dropout = [block.tcn.drop.p if hasattr(block.tcn.drop, 'p') else 0 for block in blocks]
    assert dropout == [0] + [0.5] * 9


def test_hand_tips_are_connected_to_the_thumbs():
    edges = {(a + 1, b + 1) for a, b in NTU25.edges}  # 1-based, as in the released code
    assert {(22, 23), (23, 8), (24, 25), (25, 12)} <= edges and len(edges) == 24
