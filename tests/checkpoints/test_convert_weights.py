"""Conversion of released checkpoints and back: equal outputs, and every tensor is kept.

``data/converted.json`` was recorded with the classes of Levigty/AimCLR (MIT) on the CPU, with small
networks: names and shapes of their tensors, and the outputs of ``encoder_q`` and ``encoder_k`` in
eval mode for ``skeletons``, with tensors of the values of ``released_state``. For CrosSCLR, whose
heads are tied, the input of the head was recorded.
"""

import json
import os
import pickle
import re
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from aimclr_mm.checkpoints.released import convert, describe
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.models.encoder import Encoder, pool
from tests.models.test_released import parameter, tensor, wave
from tests.runs import call_tool
from tests.tools.test_commands import CONFIG, ROOT, evaluate, run, train

RECORDED = json.loads((Path(__file__).parents[1] / 'data' / 'converted.json').read_text())
STREAMS = {'': 'joint', '_motion': 'motion', '_bone': 'bone'}


def skeletons(joints: int, channels: int) -> torch.Tensor:
    """(2, 2, 12, joints, channels)."""
    return tensor(wave((2, 2, 12, joints, channels), 5))


def shapes(case: str) -> dict[str, list[int]]:
    """Names and shapes of a released file."""
    recorded = RECORDED['cases'][case]
    encoders = {
        prefix + name: shape
        for prefix, head in recorded['heads'].items()
        for name, shape in {**RECORDED['bodies'][recorded['body']], **head}.items()
    }
    return {**recorded['top'], **encoders}


def released_state(shapes: dict[str, list[int]]) -> OrderedDict:
    """Return a released file with values by formula, different for each tensor of the code."""
    order = {name: k for k, name in enumerate(sorted(shapes))}
    state = OrderedDict()
    for name, shape in shapes.items():
        k = order[re.sub(r'_(motion|bone)\.fc\.2\.(\d)', r'.fc.\2', name)]
        if name.endswith('num_batches_tracked') or name.startswith('queue_ptr'):
            state[name] = torch.full(shape, k % 9 + 1)
        elif name.endswith('.A'):
            state[name] = tensor(0.3 * wave(tuple(shape), k))
        else:
            state[name] = tensor(parameter(tuple(shape), name.split('.', 1)[-1], k))
            if name.startswith('queue'):
                state[name] = torch.nn.functional.normalize(state[name], dim=0)  # (channels, keys)
    return state


def assert_same(left: dict, right: dict) -> None:
    """The same names, types, shapes and bits."""
    assert set(left) == set(right)
    assert [
        n for n in left if left[n].dtype != right[n].dtype or not torch.equal(left[n], right[n])
    ] == []


def separate(names: dict[str, list[int]]) -> dict[str, list[int]]:
    """The names of CrosSCLR if each stream had a head of its own."""
    return {
        name.replace('.fc.2.2.', '.fc.2.'): shape
        for name, shape in names.items()
        if '.fc.2.0.' not in name
    }


def network(case: str):
    """Our encoder, or our classifier, for the sizes of a case."""
    recorded = RECORDED['cases'][case]
    out = recorded['out']
    backbone = dict(
        type='AimCLRSTGCN',
        layout={25: 'ntu25', 20: 'kinect20'}[recorded['joints']],
        base_channels=4,
        in_channels=recorded['channels'],
        out_channels=out,
    )
    if 'linear' not in case:
        head = dict(type='ProjectionHead', in_channels=out, hidden_channels=out, out_channels=6)
        return Encoder(backbone, head).eval()
    return MODELS.build(
        dict(
            type='RecognizerGCN',
            data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'),
            backbone=backbone,
            cls_head=dict(type='GCNHead', num_classes=5, in_channels=out),
        )
    ).eval()


@pytest.mark.parametrize('case', RECORDED['cases'])
def test_outputs_are_those_of_the_released_code(case):
    recorded, classifier, tied = RECORDED['cases'][case], 'linear' in case, case == 'crossclr'
    state = convert(released_state(shapes(case)), backbone_only=tied).state
    x, outputs = skeletons(recorded['joints'], recorded['channels']), []
    for name, expected in recorded['outputs'].items():
        letter, suffix = re.fullmatch(r'encoder_([qk])(\w*)\.', name).groups()
        prefix = f'streams.{STREAMS[suffix]}.' if len(recorded['outputs']) > 2 else ''
        prefix += '' if classifier else {'q': 'encoder.', 'k': 'key_encoder.'}[letter]
        model = network(case)
        part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        missing, unexpected = model.load_state_dict(part, strict=not tied)
        assert not unexpected and all(key.startswith('head.') for key in missing)
        with torch.no_grad():
            head = (
                pool
                if tied
                else model.cls_head
                if classifier
                else lambda x, m=model: m.head(pool(x))
            )
            outputs.append(head(model.backbone(x)).numpy())
        np.testing.assert_allclose(outputs[-1], expected, atol=1e-5)
    spread = np.ptp(np.concatenate(outputs), axis=0)
    assert (spread > 1e-2).any() and len({output.tobytes() for output in outputs}) == len(outputs)


@pytest.mark.parametrize('case', [case for case in RECORDED['cases'] if case != 'crossclr'])
def test_round_trip_is_bit_equal(case):
    state = released_state(shapes(case))
    assert_same(convert(convert(state).state).state, state)


def test_round_trip_of_streams_with_their_own_heads():
    state = released_state(separate(shapes('crossclr')))
    there = convert(state).state
    assert_same(convert(there).state, state)
    assert torch.equal(there['streams.bone.memory_bank.keys'], state['queue_bone'].t())
    assert there['streams.motion.memory_bank.pointer'] == state['queue_ptr_motion'][0]
    two = {name: value for name, value in state.items() if '_bone' not in name}
    assert {name.split('.')[1] for name in convert(two).state} == {'joint', 'motion'}
    assert_same(convert(convert(two).state).state, two)


@pytest.mark.parametrize('streams', [1, 3])
def test_our_models_return_bit_equal(streams):
    model = dict(
        type='AimCLR',
        queue_length=10,
        head=dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=6),
        backbone=dict(type='AimCLRSTGCN', base_channels=4, out_channels=8),
    )
    model = MODELS.build(model if streams == 1 else dict(type='CrossStream', model=model))
    state = model.state_dict()
    for k, (name, value) in enumerate(state.items()):
        if not name.endswith('.A'):
            value.copy_(
                tensor(wave(tuple(value.shape), k))
                if value.is_floating_point()
                else torch.tensor(k % 9 + 1)
            )
    there = convert(state)
    names = shapes('aimclr') if streams == 1 else separate(shapes('crossclr'))
    assert {name: list(value.shape) for name, value in there.state.items()} == names
    assert_same(convert(there.state).state, state)


def test_data_parallel_prefix():
    state = released_state(shapes('aimclr'))
    prefixed = {f'module.{name}': value for name, value in state.items()}
    assert_same(convert(prefixed).state, convert(state).state)
    with pytest.raises(ValueError, match='differ only by module'):
        convert({**state, 'module.queue': state['queue']})


def test_tied_heads():
    state = released_state(shapes('crossclr'))
    with pytest.raises(ValueError, match='motion and bone end in the joint head.*--backbone-only'):
        convert(state)
    result = convert(state, backbone_only=True)
    assert {name.split('.')[2] for name in result.state} == {'encoder', 'key_encoder'}
    assert all('.backbone.' in name for name in result.state)
    assert len(result.left_out) == 6 + 2 * (4 + 6 + 6)
    adjacency = sum(name.endswith('.A') for name in state)
    assert len(result.state) == len(state) - len(result.left_out) + 9 * adjacency
    text = '\n'.join(describe(result.content, result.sizes))
    assert 'CrosSCLR: the heads of motion and bone' in text and 'joint, motion, bone' in text


def test_description_tells_what_the_file_does_not():
    result = convert(released_state(shapes('skeletonclr')))
    text = '\n'.join(describe(result.content, result.sizes))
    assert (
        'streams: one, not told by the file which' in text
        and 'AimCLR and SkeletonCLR have the same' in text
    )
    assert all(
        part in text
        for part in (
            'released, pre-training',
            'joints 20',
            'in_channels 2',
            'base_channels 4',
            'out_channels 16',
            'hidden_channels 16',
            'embedding 6',
            'queue_length 10',
        )
    )
    result = convert(released_state(shapes('linear_streams')))
    text = '\n'.join(describe(result.content, result.sizes))
    assert (
        'classifier of each of several streams' in text
        and 'classes 5' in text
        and 'queue' not in text
    )


BLOCK = 'encoder_q.st_gcn_networks.4.tcn.2.weight'
DAMAGES = {
    'missing': (
        lambda s: s.pop('encoder_k.fc.2.bias'),
        '1 of its tensors.*encoder_k.fc.2.bias is missing',
    ),
    'no adjacency': (lambda s: s.pop('encoder_q.A'), 'encoder_q.A is missing'),
    'no key encoder': (
        lambda s: [s.pop(n) for n in list(s) if 'encoder_k' in n],
        '181 of its.*; ...$',
    ),
    'unknown': (lambda s: s.update(extra=torch.zeros(1)), 'extra is not known'),
    'number as a name': (lambda s: s.update({3: torch.zeros(1)}), '3 is not known'),
    'shape': (
        lambda s: s.update({BLOCK: s[BLOCK][:, :2]}),
        r'tcn.2.weight has shape \(8, 2, 9, 1\)',
    ),
    'kernel': (lambda s: s.update({BLOCK: s[BLOCK][:, :, :7]}), r'which should be \(8, 8, 9, 1\)'),
    'empty queue': (lambda s: s.update(queue=s['queue'][:, :0]), 'not empty'),
    'flat adjacency': (
        lambda s: s.update({'encoder_q.A': s['encoder_q.A'][0]}),
        'encoder_q.A has shape',
    ),
    'integers': (lambda s: s.update({BLOCK: s[BLOCK].long()}), 'numbers of type torch.int64'),
    'pointer': (
        lambda s: s.update(queue_ptr=torch.zeros(1)),
        'queue_ptr has numbers of type torch.float32',
    ),
    'no tensor': (lambda s: s.update(queue=[1.0]), 'queue is not a plain tensor'),
    'sparse': (lambda s: s.update(queue=s['queue'].to_sparse()), 'queue is not a plain tensor'),
    'no storage': (lambda s: s.update(queue=s['queue'].to('meta')), 'queue is not a plain tensor'),
    'one linear layer': (
        lambda s: s.update({'encoder_q.fc.weight': s['queue']}),
        'encoder_q.fc.weight is not known',
    ),
    'nothing': (lambda s: s.clear(), 'names begin with nothing'),
}


@pytest.mark.parametrize('damage, message', DAMAGES.values(), ids=DAMAGES)
def test_refuses_what_does_not_fit(damage, message):
    state = released_state(shapes('aimclr'))
    damage(state)
    with pytest.raises(ValueError, match=message):
        convert(state)


def test_refuses_ours_that_the_released_format_cannot_hold():
    state = convert(released_state(shapes('aimclr'))).state
    state['encoder.backbone.gcn.3.gcn.A'] = state['encoder.backbone.gcn.3.gcn.A'] + 1
    with pytest.raises(ValueError, match=r'gcn.3.gcn.A differs from encoder.backbone.gcn.0.gcn.A'):
        convert(state)
    with pytest.raises(
        ValueError, match='--backbone-only is for pre-trainings in the released format'
    ):
        convert(state, backbone_only=True)
    state = convert(released_state(separate(shapes('crossclr')))).state
    with pytest.raises(
        ValueError, match='streams are motion, bone; the released format needs joint'
    ):
        convert({name: value for name, value in state.items() if 'joint' not in name})


def test_command_there_and_back(tmp_path, capsys):
    state, source, ours, back = (
        released_state(shapes('aimclr')),
        *(tmp_path / name for name in 'abc'),
    )
    torch.save(state, source, _use_new_zipfile_serialization=False)  # as torch 1.4 wrote it
    call_tool('export.py', 'from_released', source, ours)
    assert 'released, pre-training' in capsys.readouterr().out
    content = load_checkpoint_file(str(ours))
    assert set(content) == {'state_dict', 'meta'} and content['meta']['backbone_only'] is False
    torch.save(dict(content, optimizer={}, message_hub={}), ours)
    call_tool('export.py', 'to_released', ours, back)
    assert 'left out (not weights): meta, optimizer, message_hub' in capsys.readouterr().out
    assert_same(load_checkpoint_file(str(back)), state)
    with pytest.raises(ValueError, match='format of this package; use to_released'):
        call_tool('export.py', 'from_released', ours, tmp_path / 'd')
    assert sorted(os.listdir(tmp_path)) == ['a', 'b', 'c']


def test_command_refuses_files(tmp_path):
    source = tmp_path / 'in.pt'
    torch.save(released_state(shapes('linear')), source)
    (tmp_path / 'link.pt').symlink_to(source)
    for target, message in (
        (source, 'same file'),
        (tmp_path / 'link.pt', 'same file'),
        (tmp_path, 'is a folder'),
    ):
        with pytest.raises(ValueError, match=message):
            call_tool('export.py', 'from_released', source, target)
    out = tmp_path / 'out.pth'
    out.write_text('precious')
    with pytest.raises(ValueError, match='exists; give another name, or --force'):
        call_tool('export.py', 'from_released', source, out)
    assert out.read_text() == 'precious'
    call_tool('export.py', 'from_released', source, out, '--force')
    assert 'cls_head.fc.weight' in load_checkpoint_file(str(out))['state_dict']
    with pytest.raises(FileNotFoundError, match='does not exist'):
        call_tool('export.py', 'from_released', tmp_path / 'none.pt', tmp_path / 'x')


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('evil',)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'cannot be read'),
        (b'no checkpoint', 'cannot be read|is damaged'),
        (pickle.dumps(Evil()), 'damaged'),
        ([torch.zeros(1)], 'holds a list'),
        ({'state_dict': [1]}, 'state_dict is a list'),
        ({'state_dict': {'conv.weight': torch.zeros(1)}}, 'names begin with conv.weight'),
    ],
    ids=['empty', 'text', 'pickle', 'list', 'no dict', 'another network'],
)
def test_command_refuses_what_is_no_checkpoint(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        Path('in.pt').write_bytes(content)
    else:
        torch.save(content, 'in.pt')
    with pytest.raises(ValueError, match=f'in.pt.*({message})'):
        call_tool('export.py', 'from_released', 'in.pt', 'out.pth')
    assert os.listdir() == ['in.pt']


@pytest.mark.slow
def test_converted_file_is_evaluated_and_trained_on(tmp_path):
    write_pickle(Synthetic((), 4, 3, 1).dataset(), str(tmp_path / 'data.pkl'))
    config, source, out = (tmp_path / name for name in ('tiny.py', 'in.pt', 'out.pth'))
    config.write_text(
        CONFIG.format(root=ROOT, data=tmp_path / 'data.pkl', batch=16, queue=10)
        + "model['head'].update(out_channels=6)\n"
    )
    torch.save(released_state(shapes('aimclr')), source)
    run(sys.executable, 'tools/export.py', 'from_released', source, out)
    result = run(sys.executable, 'tools/export.py', 'from_released', source, out, check=False)
    assert result.returncode and 'exists' in result.stderr and 'Traceback' not in result.stderr
    assert 0 < evaluate(config, out, tmp_path, '--eval', 'knn')['knn/top1'] <= 100
    train(
        config,
        tmp_path / 'work',
        '--cfg-options',
        f'load_from={out}',
        'train_cfg.max_epochs=1',
        'optim_wrapper.optimizer.lr=0',
        'train_dataloader.batch_size=4',
        'default_hooks.checkpoint.interval=1',
    )
    loaded, trained = (
        load_checkpoint_file(str(path))['state_dict']
        for path in (out, tmp_path / 'work/epoch_1.pth')
    )
    frozen = [name for name in loaded if re.match(r'encoder\..*(conv|fc.\d|PA)', name)]
    assert len(frozen) == 60 and all(torch.equal(loaded[name], trained[name]) for name in frozen)
    assert set(convert(trained).state) == set(shapes('aimclr'))
