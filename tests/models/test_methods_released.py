"""Later methods against their released code, number by number.

``data/methods.json`` was recorded with ``tests/models/record_methods.py``, which says from which
repositories. Parameters and inputs follow its formulas, and random numbers are those that the
released code has drawn.
"""

import json

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.models import SkeletonViews
from aimclr_mm.models.encoder import pool
from aimclr_mm.models.losses import barlow_twins, d3m, info_nce, mining_loss, nearest_neighbors
from aimclr_mm.models.methods.aimclr_pp import vote
from aimclr_mm.models.methods.several_streams import compare_views
from aimclr_mm.models.skelemix import region_loss
from aimclr_mm.transforms.functional import mix_clips
from tests.models.record_methods import FILE, TAU, D, K, N, T, clips, mask_of_joints, queue
from tests.models.test_released import parameter, released_name, tensor

RECORDED = json.loads(FILE.read_text())
STREAMS = ('joint', 'bone', 'motion')
CLOSE = dict(rel=1e-5, abs=1e-6)


def build(kind: str, **options) -> torch.nn.Module:
    """Return a model of the recorded sizes."""
    head = dict(type='ProjectionHead', in_channels=16, hidden_channels=16, out_channels=D)
    cfg = dict(
        type=kind,
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=16),
        head=dict(head, **options.pop('head', {})),
        **({} if kind == 'PSTL' else dict(queue_length=K, temperature=TAU)),
        **options,
    )
    return MODELS.build(cfg)


def fill(encoder: torch.nn.Module, k: int, rename: dict[str, str] | None = None) -> None:
    """Set the parameters of an encoder by the formulas of their released names.

    Args:
        encoder: our encoder.
        k: number of the first tensor.
        rename: parts of released names that differ in this repository.
    """
    state = encoder.state_dict()
    names = {}
    for name in state:
        if name.endswith(('.A', 'num_batches_tracked')):
            continue
        released = released_name(name)
        for old, new in (rename or {}).items():
            released = released.replace(old, new)
        names[released] = name
    for i, released in enumerate(sorted(names)):
        shape = tuple(state[names[released]].shape)
        state[names[released]] = tensor(parameter(shape, released, i + k))
    encoder.load_state_dict(state)


def set_last_bias(encoder: torch.nn.Module, bias: list[float]) -> None:
    """Set the bias of the last layer of the head."""
    with torch.no_grad():
        encoder.head.fc[-1].bias.copy_(tensor(bias))


def views(**numbers: int) -> dict[str, torch.Tensor]:
    """Return views (N, M, T, V, C) by the number of their noise."""
    return {name: tensor(clips(k)) for name, k in numbers.items()}


def rows(mask: torch.Tensor) -> list[list[int]]:
    """Return the columns of a mask that are set, row by row."""
    return [row.nonzero().flatten().tolist() for row in mask]


# HiCLR


@pytest.fixture
def hiclr(monkeypatch):
    """Return the losses of both stages, by ``mining``, and the logits of the three queries."""
    model, recorded = build('HiCLR').eval(), RECORDED['hiclr']
    for i, (side, encoder) in enumerate((('q', model.encoder), ('k', model.key_encoder))):
        fill(
            encoder,
            50 * i,
            {f'edge_importance.{j}': f'edge_importance{j + 1}' for j in (9, *range(9))},
        )
        set_last_bias(encoder, recorded['biases'][side])
    model.memory_bank.keys.copy_(queue(6))
    model.mask_value.data.fill_(0.3)
    monkeypatch.setattr(
        'aimclr_mm.models.methods.hiclr.random_joints', lambda *args: torch.tensor(mask_of_joints())
    )
    inputs = views(query=5, key=6, extreme=7, masked=8)
    losses = {}
    with torch.no_grad():
        for model.mining in (False, True):
            losses[model.mining] = model.loss(inputs)
            model.memory_bank.keys.copy_(queue(6))
        logits, _ = compare_views(model, inputs)
    return losses, logits


def test_hiclr_first_stage(hiclr):
    losses, logits = hiclr
    recorded = RECORDED['hiclr']
    expected = np.reshape(recorded['logits'], (N, 1 + K))
    np.testing.assert_allclose(logits[0].numpy(), expected, rtol=1e-5, atol=1e-4)
    losses = losses[False]
    assert losses['loss_info'].item() == pytest.approx(recorded['first']['info'], **CLOSE)
    pairs = [d3m(*logits[:2]).item(), d3m(*logits[1:]).item()]
    assert pairs == pytest.approx(recorded['first']['d3m'], **CLOSE)
    assert losses['loss_d3m'].item() == pytest.approx(sum(pairs) / 2, **CLOSE)


def test_hiclr_second_stage(hiclr):
    losses, logits = hiclr
    recorded = RECORDED['hiclr']['second']
    assert rows(nearest_neighbors(logits)) == recorded['positives']
    assert losses[True]['loss_nnm'].item() == pytest.approx(recorded['nnm'], **CLOSE)


# AimCLR++


@pytest.fixture(scope='module')
def aimclr_pp():
    """Return the logits of the normal and the extreme query of each stream."""
    recorded, logits = RECORDED['aimclr_pp'], {}
    joints = views(query=5, key=6, extreme=7)
    formed = SkeletonViews('ntu25', STREAMS).form_streams(joints)
    for i, stream in enumerate(STREAMS):
        model = build('AimCLR').eval()
        for j, (side, encoder) in enumerate((('q', model.encoder), ('k', model.key_encoder))):
            fill(encoder, 200 * i + 10 * j)
            set_last_bias(encoder, recorded['biases'][f'{stream}.{side}'])
        model.memory_bank.keys.copy_(queue(6 + i))
        with torch.no_grad():
            logits[stream], _ = compare_views(model, formed[stream])
    return logits


@pytest.mark.parametrize('stream', STREAMS)
def test_aimclr_pp_first_and_second_stage(aimclr_pp, stream):
    recorded, logits = RECORDED['aimclr_pp'], aimclr_pp[stream]
    losses = [info_nce(logits[0]).item(), d3m(*logits).item()]
    assert losses == pytest.approx(recorded['first'][stream], **CLOSE)
    positives = nearest_neighbors(logits, 4)
    assert rows(positives) == recorded['second'][stream]['positives']
    mined = mining_loss(logits[0], positives, 'mean').item()
    assert mined == pytest.approx(recorded['second'][stream]['nnm'], **CLOSE)


def test_aimclr_pp_third_stage(aimclr_pp):
    recorded = RECORDED['aimclr_pp']['third']
    positives = vote(aimclr_pp.values(), 10, 2)
    assert rows(positives) == recorded['positives'] and positives.sum() > N
    for stream, logits in aimclr_pp.items():
        loss = mining_loss(logits[0], positives, 'mean').item()
        assert loss == pytest.approx(recorded[stream], **CLOSE)


# SkeleMix


def test_skelemix():
    model, recorded = build('SkeletonCLR', head=dict(batch_norm=True)).eval(), RECORDED['skelemix']
    for i, (side, encoder) in enumerate((('q', model.encoder), ('k', model.key_encoder))):
        fill_with_bias(encoder, 50 * i)
        set_last_bias(encoder, recorded['biases'][side])
    model.memory_bank.keys.copy_(queue(6))
    inputs = views(query=5, key=6)
    with torch.no_grad():
        key, bank = model.encode_key(inputs['key']), model.memory_bank.snapshot()
        logits, _ = compare_views(model, inputs)
        assert info_nce(logits[0]).item() == pytest.approx(recorded['info'], **CLOSE)
        for i, drawn in enumerate(recorded['drawn']):
            mask = torch.zeros(T // 4, 25, dtype=torch.bool)
            for row, columns in zip(mask, drawn['mask']):
                row[columns] = True
            mixed = mix_clips(inputs['query'], drawn['shift'], mask.repeat_interleave(4, 0))
            np.testing.assert_allclose(mixed.flatten()[::37].numpy(), drawn['mixed'], atol=1e-6)

            maps = model.encoder.backbone(mixed)
            inside, outside = (model.encoder.project(maps, region) for region in (mask, ~mask))
            mates = key.roll(-drawn['shift'], dims=0)
            losses = [
                region_loss(inside, mates, outside, bank, TAU).item(),
                region_loss(outside, key, inside, bank, TAU).item(),
            ]
            expected = [recorded['inside'][i], recorded['outside'][i]]
            assert losses == pytest.approx(expected, **CLOSE)


def fill_with_bias(encoder: torch.nn.Module, k: int) -> None:
    """Fill an encoder whose head has a batch norm; the released layer before it has a bias, too.

    The bias is subtracted from the running mean, which has the same effect.
    """
    state = encoder.state_dict()
    names = {
        released_name(name): name
        for name in state
        if not name.endswith(('.A', 'num_batches_tracked'))
    }
    order = sorted([*names, 'fc.0.bias'])
    for i, released in enumerate(order):
        if released != 'fc.0.bias':
            shape = tuple(state[names[released]].shape)
            state[names[released]] = tensor(parameter(shape, released, i + k))
    bias = tensor(parameter((16,), 'fc.0.bias', order.index('fc.0.bias') + k))
    state['head.fc.1.running_mean'] -= bias
    encoder.load_state_dict(state)


# PSTL


@pytest.fixture
def pstl():
    """Return the model with the recorded parameters, in training mode without dropout."""
    head = dict(hidden_channels=12, out_channels=12, num_layers=3, batch_norm=True)
    model = build('PSTL', head=head).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    fill(model.encoder.backbone, 0)
    state = model.encoder.head.fc.state_dict()
    names = sorted(name for name in state if not name.endswith(('batches_tracked', '6.bias')))
    for i, name in enumerate(names):
        kind = '1d.' + name if state[name].ndim == 1 else name
        state[name] = tensor(parameter(tuple(state[name].shape), kind, 70 + i))
    model.encoder.head.fc.load_state_dict(state)
    return model


def test_pstl(pstl, monkeypatch):
    recorded, inputs = RECORDED['pstl'], views(key=5, query=6, masked=7)
    pstl.frame_ratio = 3 / T
    drawn = torch.tensor([3, 7, 11, *(i for i in range(13) if i % 4 != 3)])  # three are lost
    monkeypatch.setattr(torch, 'randperm', lambda count, device=None: drawn[:count])
    stays = torch.tensor([i for i in range(25) if i not in recorded['lost']])
    monkeypatch.setattr(pstl, 'draw_joints', lambda: stays)

    frames = pstl.mask_frames(inputs['query'])
    np.testing.assert_allclose(frames.flatten()[::37].numpy(), recorded['kept'], atol=1e-6)
    with torch.no_grad():
        maps = [
            pstl.encoder.backbone(inputs['key']),
            pstl.encoder.backbone(frames),
            pstl.encoder.backbone.forward_joints(inputs['masked'], stays),
        ]
        for feature_map, expected in zip(maps, recorded['features'], strict=True):
            expected = np.reshape(expected, (N, 16))
            np.testing.assert_allclose(pool(feature_map).numpy(), expected, rtol=1e-4, atol=1e-5)
        whole, *parts = map(pstl.embed, maps)
        losses = [barlow_twins(whole, part, 2e-2).item() for part in parts]
        assert losses == pytest.approx(recorded['losses'], rel=1e-5)
