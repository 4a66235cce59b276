"""ActCLR against float64 loops: actionlets, splicing, mixing, teachers, divergences."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

from aimclr_mm.models.actionlet import actionlet_share, find_actionlet, splice
from aimclr_mm.models.losses import distillation
from aimclr_mm.models.methods.actclr import blend_keys
from aimclr_mm.skeletons import COCO17, NTU25
from aimclr_mm.skeletons.parts import body_parts
from aimclr_mm.transforms import TransferBoneLengths
from tests.models.test_model import VIEWS, K, N, T, build, skeletons, views

NAMES = ('query', 'key', 'extreme', 'strong')
NEAR = dict(neighbors=5)


def unit(x: np.ndarray) -> np.ndarray:
    """Return rows of unit length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# the divergence


def test_distillation_by_a_loop():
    student, teacher = torch.rand(4, 9) * 2 - 1, torch.rand(4, 9) * 1.8 - 0.9
    teacher[1, 3] = 0.99  # the key of the same sample
    expected = 0.0
    for s, t in zip(student.double().tolist(), teacher.double().tolist()):
        order = sorted(range(9), key=lambda j: -(t[j] if t[j] <= 0.95 else -1))[:3]
        p = [math.exp((t[j] if t[j] <= 0.95 else -1) / 0.04) for j in order]
        q = [math.exp(s[j] / 0.1) for j in order]
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        expected += sum(a * math.log(a / b) for a, b in zip(p, q)) / 4
    assert distillation(student, teacher, torch.eye(9), 3).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_distillation_of_equal_distributions_is_zero():
    cosines = torch.rand(4, 9) * 0.9
    loss = distillation(cosines, cosines, torch.eye(9), 9, (0.1, 0.1))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_teacher_gets_no_gradient():
    student, teacher = (torch.rand(4, 9, requires_grad=True) for _ in range(2))
    distillation(student, teacher, torch.eye(9), 4).backward()
    assert teacher.grad is None and (student.grad != 0).sum() == 16


# actionlets


def test_actionlet_of_a_linear_head_by_hand():
    """With z = h the gradient of 1 - cos(h, a) is -(a - (h_ a) h_) / |h|, h_ = h / |h|."""
    head = nn.Identity()
    maps = torch.randn(3, 2, 4, 5, 25)
    anchor = torch.nn.functional.normalize(torch.randn(1, 4), dim=1)
    mask = find_actionlet(maps, head, anchor, body_parts(NTU25).values())
    x, a = maps.double().numpy(), anchor[0].double().numpy()
    for n in range(3):
        h = x[n].mean((0, 2, 3))
        direction = h / np.linalg.norm(h)
        weight = -(a - (direction @ a) * direction) / np.linalg.norm(h)
        activation = np.maximum(np.einsum('c,mctv->mtv', weight, x[n]), 0)
        for joints in body_parts(NTU25).values():
            expected = activation[..., list(joints)].mean(-1) > 0
            for joint in joints:
                assert (mask[n, ..., joint].numpy() == expected).all()
    assert 0 < mask.float().mean() < 1


def test_actionlets_leave_no_gradients():
    model, x = build('ActCLR', **NEAR), skeletons()
    with torch.no_grad():
        anchor = model.encoder(x[:1])
    assert not model.actionlet(x, anchor).requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_splice_takes_one_view_inside_and_the_other_outside():
    inside, outside = torch.randn(2, 2, 13, 25, 3), torch.randn(2, 2, 13, 25, 3)
    mask = torch.rand(2, 2, 13, 25) < 0.5
    expected = torch.where(mask[..., None], inside, outside)
    torch.testing.assert_close(splice(inside, outside, mask), expected)
    mask = torch.zeros(2, 2, 4, 25, dtype=torch.bool)
    mask[:, :, 1] = True
    weight = np.interp(np.linspace(0, 3, 13), range(4), [0, 1, 0, 0])  # linear, ends aligned
    expected = outside + torch.tensor(weight).float()[:, None, None] * (inside - outside)
    torch.testing.assert_close(splice(inside, outside, mask), expected)


def test_share_of_the_actionlet_by_a_loop():
    mask, region = torch.rand(3, 2, 4, 5) < 0.5, torch.rand(4, 5)
    expected = []
    for n in range(3):
        shares = []
        for m in range(2):
            weight = [[math.exp(10.0 * bool(v)) for v in row] for row in mask[n, m]]
            total = sum(map(sum, weight))
            taken = sum(w * r for row, rs in zip(weight, region.tolist()) for w, r in zip(row, rs))
            shares.append(taken / total)
        expected.append(np.mean(shares))
    np.testing.assert_allclose(actionlet_share(mask, region).numpy(), expected, rtol=1e-5)


def test_teacher_of_mixed_clips_by_a_loop():
    key = torch.nn.functional.normalize(torch.randn(4, 6), dim=1)
    actionlet, given = torch.rand(4, 1, 3, 5) < 0.5, torch.rand(3, 5).round()
    own = actionlet_share(actionlet, 1 - given).tolist()
    mate = actionlet_share(actionlet, given).tolist()
    teacher = blend_keys(key, 3, actionlet, given, 1 - given)
    for i in range(4):
        j = (i + 3) % 4
        mixed = own[i] * key[i].double().numpy() + mate[j] * key[j].double().numpy()
        np.testing.assert_allclose(teacher[i].numpy(), unit(mixed), atol=1e-6)


# mixing


def test_kinds_of_mixing():
    """Half of the mixings cut and paste, a quarter resize and paste, a quarter blend."""
    model = build('ActCLR', **NEAR)
    base = torch.arange(N).float()[:, None, None, None, None] * 100
    x = base + torch.arange(T)[:, None, None] + torch.zeros(N, 2, T, 25, 3)
    counts = dict(cut=0, resize=0, blend=0)
    for _ in range(400):
        mixed, shift, given, lost = model.mix(x)
        mates = x.roll(-shift, dims=0)
        if torch.equal(given, lost) and given.unique().numel() == 1 and 0 < given[0, 0] < 1:
            counts['blend'] += 1
            weight = given[0, 0].item()
            torch.testing.assert_close(mixed, x + weight * (mates - x), rtol=1e-4, atol=1e-3)
            continue
        pasted = lost.bool().repeat_interleave(4, 0)[:T, :, None]
        assert torch.equal(torch.where(pasted, x, mixed), x)
        if torch.equal(given, lost):
            counts['cut'] += 1
            assert torch.equal(mixed, torch.where(pasted, mates, x))
            continue
        counts['resize'] += 1
        frames = int(pasted.any(1).sum())  # twice as many frames at double speed: 0.5, 2.5, ...
        assert torch.equal(given, lost.any(0).expand_as(lost).float())
        joint = int(lost.any(0).nonzero()[0])
        part = mixed[0, 0, pasted[:, joint, 0], joint, 0]
        expected = mates[0, 0, 0, 0, 0] + 2 * torch.arange(frames) + 0.5
        torch.testing.assert_close(part, expected)
    assert 160 < counts['cut'] < 240 and 65 < counts['resize'] < 140 and 65 < counts['blend'] < 140


# the losses


def test_losses():
    model, inputs = build('ActCLR', **NEAR), views(*NAMES)
    bank = model.memory_bank.keys.double().numpy().copy()
    torch.manual_seed(6)
    with torch.no_grad():
        backbone, head = model.key_encoder.backbone, model.key_encoder.head
        mean = inputs['key'].mean(0, keepdim=True)
        anchor = torch.from_numpy(unit(head(backbone(mean).mean((1, 3, 4))).double().numpy()))
        anchor = anchor.float()
        maps = backbone(inputs['key'])
        mask = find_actionlet(maps, head, anchor, body_parts(NTU25).values())
        inside = torch.zeros(N, 2, 8)
        for n in range(N):
            for m in range(2):
                chosen = maps[n, m][:, mask[n, m]]
                if chosen.numel():
                    inside[n, m] = chosen.mean(1)
        key = (head(maps.mean((1, 3, 4))) + head(inside.mean(1))) / 2
        key = torch.nn.functional.normalize(key, dim=1)

        strong = model.actionlet(inputs['strong'], anchor)
        first = splice(inputs['strong'], inputs['extreme'], strong)
        actionlet = model.actionlet(inputs['query'], anchor)
        second = splice(inputs['query'], model.mix(inputs['query'])[0], actionlet)
        third, shift, given, lost = model.mix(inputs['query'])
        teacher = blend_keys(key, shift, actionlet, given, 1 - lost)
        queries = [model.encoder(view).double().numpy() for view in (first, second, third)]
    torch.manual_seed(6)
    result = model(inputs, mode='loss')
    assert list(result) == ['loss_strong', 'loss_spared', 'loss_mixed']
    for query, target, value in zip(queries, (key, key, teacher), result.values()):
        total = 0.0
        for q, t in zip(query, target.double().numpy()):
            cosines = bank @ t
            cosines[cosines > 0.95] = -1
            order = np.argsort(-cosines)[:5]
            p, s = np.exp(cosines[order] / 0.04), np.exp(bank[order] @ q / 0.1)
            p, s = p / p.sum(), s / s.sum()
            total += (p * np.log(p / s)).sum() / N
        assert value.item() == pytest.approx(total, rel=1e-3)
    np.testing.assert_allclose(model.memory_bank.keys[:N].numpy(), key.numpy(), atol=1e-5)


def test_gradients_reach_the_query_encoder_only():
    model = build('ActCLR', **NEAR)
    sum(model(views(*NAMES), mode='loss').values()).backward()
    assert all(p.grad is None for p in model.key_encoder.parameters())
    for name, p in model.encoder.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


@pytest.mark.parametrize('layout, joints', [('kinect20', 20), ('ntu25', 25)])
def test_data_preprocessor_feeds_the_model(layout, joints):
    normal, strong = [dict(type='Shear')], [dict(type='Shear'), dict(type='Rotate')]
    preprocessor = dict(
        VIEWS,
        layout=layout,
        query=[*normal, dict(type='TransferBoneLengths')],
        extreme=strong,
        others=dict(strong=strong),
    )
    backbone = dict(
        type='FastSTGCN', layout=layout, base_channels=4, out_channels=8, tcn_dropout=0.0
    )
    cfg = dict(
        type='ActCLR',
        backbone=backbone,
        head=dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=6),
        queue_length=K,
        layout=layout,
        data_preprocessor=preprocessor,
        **NEAR,
    )
    model = MODELS.build(cfg).train()
    batch = dict(
        inputs=list(skeletons(joints)[:, None]),
        data_samples=[ActionDataSample() for _ in range(N)],
    )
    result = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert all(torch.isfinite(value) for value in result.values())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(neighbors=0), f'neighbors=0.*queue_length={K}'),
        (dict(neighbors=K + 1), f'neighbors={K + 1}'),
        (dict(NEAR, temperatures=(0.1, 0.0)), 'temperatures'),
        (dict(NEAR, mixing=dict(type='SkeleMix')), 'mixing=None'),
        (dict(NEAR, data_preprocessor=dict(VIEWS, extreme=[])), 'others.strong'),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build('ActCLR', **options)


def test_another_stride_than_that_of_the_backbone():
    with pytest.raises(ValueError, match='the feature map has 4 frames of 16.*stride=8'):
        build('ActCLR', stride=8, **NEAR)(views(*NAMES), mode='loss')


# bone lengths


@pytest.mark.parametrize('layout', [NTU25, COCO17])
def test_bones_get_the_lengths_of_the_mate(layout):
    x = torch.randn(4, 2, 5, layout.num_joints, layout.dims + 1)
    transform = TransferBoneLengths(layout=layout)
    mate = transform.draw(x)['mate']
    y = transform.apply(x, mate)
    assert (mate != torch.arange(4)).all()
    for v, parent in enumerate(layout.bones):
        old, new = (z[..., v, :-1] - z[..., parent, :-1] for z in (x, y))
        if v == parent:
            torch.testing.assert_close(y[..., v, :-1], x[..., v, :-1])  # the root stays
            continue
        lengths = new.norm(dim=-1)
        torch.testing.assert_close(lengths, old.norm(dim=-1)[mate], rtol=1e-4, atol=1e-5)
        cosine = (old * new).sum(-1) / old.norm(dim=-1) / lengths
        assert (cosine > 1 - 1e-4).all()
    assert torch.equal(x[..., -1], y[..., -1])


def test_absent_people_keep_their_bones():
    x = torch.randn(2, 2, 5, 25, 3)
    x[0, 1] = 0
    y = TransferBoneLengths().apply(x, torch.tensor([1, 0]))
    assert torch.equal(y[0, 1], x[0, 1])  # nothing appears where nobody is
    torch.testing.assert_close(y[1, 1], x[1, 1], atol=1e-5, rtol=0)  # the mate has no lengths
