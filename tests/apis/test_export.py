"""Exported encoders: the graph against the encoder, metadata, refusals, the documented commands."""

import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from mmaction.datasets.transforms import PreNormalize2D

from aimclr_mm.apis import ClassificationHead, EmbeddingClassifier, load_encoder, load_head
from aimclr_mm.apis import export as exporting
from aimclr_mm.apis.export import (
    ExportedEncoder,
    check_suffix,
    compare,
    describe,
    export,
    random_sequences,
    tensor_step,
)
from aimclr_mm.transforms import ResizeClip
from aimclr_mm.transforms.functional import resize_frames
from aimclr_mm.utils.overlays import read_config
from tests.docs_runner import Folder, blocks, make_project
from tests.runs import ROOT, call_tool


def small(name: str, overlays: tuple = ()):
    """Return a config of the project with few channels."""
    cfg = read_config(
        str(ROOT / 'configs' / f'{name}.py'), [str(ROOT / 'configs' / o) for o in overlays]
    )
    part = cfg.model.model if cfg.model.type == 'CrossStream' else cfg.model
    part.backbone.update(base_channels=2, out_channels=6)
    part.head.update(in_channels=6)
    return cfg


def open_small(name: str, overlays: tuple = (), stream: str | None = None, readout: str = 'mean'):
    """Return its encoder, with random batch-norm statistics."""
    encoder = load_encoder(small(name, overlays), 'random', 'cpu', stream, readout)
    torch.manual_seed(1)
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return encoder


@pytest.fixture
def few_times(monkeypatch):
    monkeypatch.setattr(exporting, 'REPEATS', 1)


@pytest.mark.parametrize('suffix', ['pt2', 'onnx'])
@pytest.mark.parametrize('readout', ['mean_std', 'segments', 'cells', 'equal_motion'])
def test_graph_contains_the_readout(tmp_path, few_times, readout, suffix):
    encoder = open_small('aimclr_utdmhad_xsub_joint', readout=readout)
    export(encoder, str(tmp_path / f'encoder.{suffix}'))  # compares the file with the encoder
    assert describe(encoder, ExportedEncoder(encoder), '')['readout'] == readout


# --- frames ---


@pytest.mark.parametrize('length', [1, 7, 50])
def test_resize_equals_torch_for_each_sample(length):
    x, frames, start = torch.randn(5, 2, 60, 3, 3), torch.tensor([1, 2, 13, 50, 57]), 3
    found = resize_frames(x, length, frames, start)
    for sample, count, result in zip(x, frames.tolist(), found):
        rows = sample[:, start : start + count].permute(0, 2, 3, 1).reshape(1, -1, count)
        expected = TF.interpolate(rows, size=length, mode='linear', align_corners=False)
        torch.testing.assert_close(
            result.permute(0, 2, 3, 1).reshape(1, -1, length), expected, atol=2e-5, rtol=0
        )


# --- the graph ---


@pytest.mark.parametrize(
    'name',
    [
        'aimclr_ntu60_xsub_joint',
        'aimclr_pkummdv1_xsub_bone',
        'aimclr_ntu60_xsub_motion',
        'aimclr_nwucla_xview_joint',
        'aimclr_ntu60_xsub_joint_2d',
    ],
)
def test_module_equals_the_encoder(name, few_times):
    """Streams; 25, 20 and 17 joints; 1 to 333 frames, absent people, gaps."""
    encoder = open_small(name)
    module = ExportedEncoder(encoder)
    rows = list(
        compare(encoder, module.shape, lambda x: module(torch.from_numpy(x)).detach().numpy())
    )
    assert len({row.shape[0] for row in rows}) > 2 and max(row.difference for row in rows) < 1e-5


@pytest.mark.parametrize('suffix', ['pt2', 'onnx'])
@pytest.mark.parametrize('missing', ['drop', 'keep'])
def test_graph_contains_the_rule_for_missing_frames(tmp_path, few_times, missing, suffix):
    encoder = open_small('aimclr_utdmhad_xsub_joint')
    encoder.missing = missing
    export(encoder, str(tmp_path / f'encoder.{suffix}'))  # compares the file with the encoder
    assert describe(encoder, ExportedEncoder(encoder), '')['missing'] == missing


@pytest.mark.parametrize('name', ['aimclr_ntu60_xsub_joint', 'aimclr_ntu60_xsub_joint_2d'])
def test_shorter_sequences_are_filled_up_with_zeros(name):
    encoder = open_small(name)
    module = ExportedEncoder(encoder)
    clips = [
        random_sequences((1, 2, frames, *module.shape[1:]), encoder.layout.dims, frames)[0, :1]
        for frames in (12, 80)
    ]
    batch = np.zeros((2, 2, 80, *module.shape[1:]), dtype=np.float32)
    for row, clip in zip(batch, clips):
        row[:1, : clip.shape[1]] = clip
    expected = encoder.embed(clips)
    found = module(torch.from_numpy(batch)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_one_stream_of_several():
    module = ExportedEncoder(open_small('aimclr_ntu60_xsub_joint', ('methods/crosclr.py',), 'bone'))
    assert module(torch.randn(1, 2, 9, 25, 3)).shape == (1, 6)
    with pytest.raises(ValueError, match='streams joint, bone, motion.*--stream'):
        ExportedEncoder(open_small('aimclr_ntu60_xsub_joint', ('methods/crosclr.py',)))


def test_normalization_by_image_size_equals_mmaction2():
    x, step = torch.rand(2, 1, 4, 17, 3) * 500, PreNormalize2D(img_shape=(480, 640))
    expected = step.transform(dict(keypoint=x.numpy().copy()))['keypoint']
    np.testing.assert_allclose(tensor_step(step)(x), expected, rtol=1e-6, atol=1e-6)


def test_metadata():
    encoder = open_small('aimclr_nwucla_xview_joint')
    about = describe(encoder, ExportedEncoder(encoder), 'work/epoch_9.pth')
    assert (
        about['joints'].split(',') == list(encoder.layout.joints)
        and about['layout'] == encoder.layout.name
    )
    assert (
        about['config'] == 'aimclr_nwucla_xview_joint.py' and about['checkpoint'] == 'epoch_9.pth'
    )
    assert about['encoder'] == encoder.fingerprint and all(
        isinstance(value, str) for value in about.values()
    )


# --- classifiers ---


@pytest.mark.parametrize('kind', [ClassificationHead, EmbeddingClassifier])
def test_probabilities_are_those_of_the_classifier(kind, few_times):
    encoder = open_small('aimclr_nwucla_xview_joint')
    rng = np.random.default_rng(0)
    (embedding,) = encoder.embed(rng.normal(size=(20, 20, 3)))
    weight = rng.normal(size=(4, 6)) / (1 if kind is EmbeddingClassifier else abs(embedding).max())
    bias = rng.normal(size=4)
    classifier = kind(weight, bias, np.array(list('abcd')))
    module = ExportedEncoder(encoder, classifier)

    def run(x):
        return [output.detach().numpy() for output in module(torch.from_numpy(x))]

    rows = list(compare(encoder, module.shape, run, classifier))
    assert max(row.difference for row in rows) < 1e-4
    assert json.loads(describe(encoder, module, '')['classes']) == list('abcd')
    other = kind(weight, bias + [1, 0, 0, 0], classifier.classes)
    with pytest.raises(ValueError, match='differs from the encoder'):
        list(compare(encoder, module.shape, run, other))
    with pytest.raises(ValueError, match='longer'):
        list(compare(encoder, module.shape, lambda x: run(x)[:1], classifier))


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['onnx', 'pt2'])
def test_files_with_a_classification_head(tmp_path, monkeypatch, capsys, few_times, suffix):
    if suffix == 'onnx':
        pytest.importorskip('onnxscript', reason='onnxscript is not installed (extra export)')
    cfg = read_config(
        str(ROOT / 'configs/aimclr_nwucla_xview_joint.py'),
        [str(ROOT / 'configs/protocols/finetune.py')],
    )
    state = load_encoder(cfg, 'random', 'cpu').model.state_dict()
    meta = dict(dataset_meta=dict(classes=[f'class {k}' for k in range(10)]))
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'c.pth')
    monkeypatch.chdir(ROOT)
    config = 'configs/aimclr_nwucla_xview_joint.py'
    out = str(tmp_path / f'e.{suffix}')
    call_tool('export.py', suffix, config, tmp_path / 'c.pth', '--out', out)
    assert 'left out: the classification head' in capsys.readouterr().out
    call_tool('export.py', suffix, config, tmp_path / 'c.pth', '--out', out, '--probabilities')
    assert 'left out' not in capsys.readouterr().out

    x = random_sequences((3, 1, 40, 20, 3), 3, 1)
    encoder, head = load_encoder(cfg, tmp_path / 'c.pth', 'cpu'), load_head(str(tmp_path / 'c.pth'))
    expected = head.probabilities(encoder.embed(list(x)))
    if suffix == 'onnx':
        import onnxruntime

        session = onnxruntime.InferenceSession(out)
        names = [output.name for output in session.get_outputs()]
        assert names == ['embedding', 'probability']
        classes = session.get_modelmeta().custom_metadata_map['classes']
        found = session.run(['probability'], {'keypoint': x})[0]
    else:
        files = {'metadata.json': ''}
        found = torch.export.load(out, extra_files=files).module()(torch.from_numpy(x))[1]
        found, classes = found.detach().numpy(), json.loads(files['metadata.json'])['classes']
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert json.loads(classes) == head.classes.tolist()


# --- refusals ---


def test_unknown_step_is_refused():
    with pytest.raises(ValueError, match='PreNormalize3D.*cannot be exported; known are'):
        ExportedEncoder(open_small('aimclr_ntu60_xsub_joint_mmaction2'))


def test_unknown_extension_is_refused():
    with pytest.raises(ValueError, match=r"'encoder.pt': the extension must be .onnx or .pt2"):
        check_suffix('encoder.pt')


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match=r'onnx, onnxruntime and onnxscript.*\[export\]'):
        check_suffix('encoder.onnx')
    assert check_suffix('encoder.pt2') == '.pt2'


@pytest.mark.parametrize(
    'wrong, message',
    [
        (lambda y: y * 1.001, 'differs from the encoder by 1.0e-03'),
        (lambda y: y * np.nan, '0% finite'),
        (lambda y: y[:, :-1], r'\(1, 5\)'),
    ],
)
def test_file_that_disagrees_is_not_kept(wrong, message, tmp_path, monkeypatch, few_times):
    encoder = open_small('aimclr_ntu60_xsub_joint')
    module = ExportedEncoder(encoder)

    def write(program, file, metadata):
        file.write(b'something')
        return lambda x: wrong(module(torch.from_numpy(x)).detach().numpy())

    monkeypatch.setattr(exporting, 'trace', lambda module: None)
    monkeypatch.setitem(exporting.WRITERS, '.pt2', write)
    with pytest.raises(ValueError, match=message):
        export(encoder, str(tmp_path / 'encoder.pt2'))
    assert list(tmp_path.iterdir()) == []


def test_error_of_the_exporter_is_one_line(tmp_path, monkeypatch):
    def fail(module):
        print('much')
        raise RuntimeError('Failed\n<class Deep>: no function for it\nmore')

    monkeypatch.setattr(exporting, 'trace', fail)
    with pytest.raises(
        ValueError, match='^this encoder cannot be exported: <class Deep>: no function for it$'
    ):
        export(open_small('aimclr_ntu60_xsub_joint'), str(tmp_path / 'encoder.pt2'))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_surplus_on_both_sides_has_open_sizes():
    """The one step whose arithmetic on T depends on its settings, traced alone."""

    class Step(torch.nn.Module):
        def forward(self, x):
            return step.batch(x)

    step = ResizeClip(length=5, max_frames=20, surplus='both')
    sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    graph = torch.export.export(
        Step(), (torch.randn(2, 1, 9, 25, 3),), dynamic_shapes={'x': sizes}
    ).module()
    for shape in ((1, 1, 1, 25, 3), (3, 1, 20, 25, 3), (2, 1, 41, 25, 3)):
        x = torch.randn(shape)
        torch.testing.assert_close(graph(x), step.batch(x))


# --- files ---


@pytest.mark.slow
def test_page_runs_as_printed(tmp_path):
    """Commands and examples of docs/deployment.md; the files agree with the encoder."""
    pytest.importorskip('onnxscript', reason='onnxscript is not installed (extra export)')
    onnxruntime = pytest.importorskip(
        'onnxruntime', reason='onnxruntime is not installed (extra export)'
    )
    checkpoint = tmp_path / 'work_dirs' / 'first' / 'epoch_60.pth'
    checkpoint.parent.mkdir(parents=True)
    config = str(ROOT / 'configs' / 'aimclr_utdmhad_xsub_joint.py')
    encoder = load_encoder(config, 'random', 'cpu')
    torch.save(dict(state_dict=encoder.model.state_dict()), checkpoint)
    project, printed = Folder(make_project(tmp_path), {}), []
    for block in blocks(ROOT / 'docs' / 'deployment.md'):
        if block.language == 'python':
            printed.append(project.python(block))
        for line in block.commands() if block.language == 'bash' else ():
            if line.startswith('python tools'):
                printed.append(project.command(line, block))
    assert (
        printed[0].splitlines()[0].startswith('keypoint (N, M, T, V, C)')
        and len(printed[0].splitlines()) == 7
    )
    assert printed[0].endswith('encoder.onnx: written\n') and printed[1].endswith(
        'encoder.pt2: written\n'
    )
    assert printed[2].startswith('(4, 64) [[') and printed[3] == 'torch.Size([4, 64])\n'
    session = onnxruntime.InferenceSession(str(tmp_path / 'encoder.onnx'))
    metadata = {'metadata.json': ''}
    program = torch.export.load(tmp_path / 'encoder.pt2', extra_files=metadata).module()
    assert session.get_modelmeta().custom_metadata_map == json.loads(metadata['metadata.json'])
    assert [(i.name, i.shape[1], i.shape[3:]) for i in session.get_inputs()] == [
        ('keypoint', 1, [20, 3])
    ]
    x = random_sequences((5, 1, 71, 20, 3), 3, 9)
    expected = load_encoder(config, checkpoint, 'cpu').embed(list(x))
    for found in (
        session.run(None, {'keypoint': x})[0],
        program(torch.from_numpy(x)).detach().numpy(),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
