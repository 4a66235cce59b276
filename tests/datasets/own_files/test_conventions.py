"""Units and the vertical of own recordings."""

import numpy as np
import pytest

from aimclr_mm.apis import load_encoder, read_recordings
from aimclr_mm.datasets import load_annotations
from aimclr_mm.datasets.own_files import FolderReader
from aimclr_mm.datasets.own_files.cleaning import Found, Report
from aimclr_mm.datasets.own_files.conventions import odd_vertical, person_size, to_meters
from aimclr_mm.datasets.own_files.samples import write_samples
from aimclr_mm.datasets.prepare import prepare
from aimclr_mm.datasets.readers import list_files
from aimclr_mm.skeletons import get_layout, map_layout

NTU25 = get_layout('ntu25')


@pytest.fixture(scope='module')
def bow(tmp_path_factory):
    """Return a recording (1, T, 25, 3) in meters, y up."""
    folder = tmp_path_factory.mktemp('bow')
    write_samples(str(folder), 'kinect', subjects=1, cameras=1)
    (recording,) = read_recordings(folder / 'wave/C001P001R001.npy', missing='interpolate')
    return recording['keypoint'][:1]


def test_size_by_hand():
    keypoint = np.zeros((2, 3, 4, 3))
    keypoint[0, 0] = [[1, 1, 1], [1, 2.5, 1], [0, 0, 0], [2, 1.5, 1]]  # 1.5 high
    keypoint[0, 1, :2] = [[0.5, 1, 1], [2.5, 1, 1]]  # 2 wide
    keypoint[1, 2, :2] = [[1, 1, 5], [1, 1, 8]]  # 3 deep
    keypoint[1, 1, 3] = 700  # a single joint has no size
    assert person_size(keypoint) == 2
    assert person_size(np.zeros((1, 2, 4, 3))) == person_size(np.full((1, 2, 4, 3), np.nan)) == 0


@pytest.mark.parametrize('unit, factor', [('m', 1), ('cm', 100), ('mm', 1000)])
def test_units_are_asked_for_and_converted(bow, unit, factor):
    given = dict(keypoint=bow * np.float32(factor), total_frames=bow.shape[1])
    if unit != 'm':
        message = f'extends .* cannot be meters; give the unit .*probably {unit} .--unit {unit}'
        with pytest.raises(ValueError, match=message):
            to_meters(given, NTU25, None)
    found = to_meters(given, NTU25, unit)
    np.testing.assert_allclose(found['keypoint'], bow, rtol=1e-5)
    assert to_meters(found, NTU25, unit) is found  # not twice
    assert to_meters(given, NTU25, 'm') is given


def test_pixels_have_no_unit():
    given = dict(keypoint=np.full((1, 2, 17, 2), 900.0))
    assert to_meters(given, get_layout('coco17'), 'mm') is given
    with pytest.raises(ValueError, match="unit='inch'; choose from 'm', 'cm', 'mm'"):
        to_meters(given, get_layout('coco17'), 'inch')


TURNED = {  # axis that points up -> recordings with y up, turned so
    '+y': lambda x: x,
    '-y': lambda x: x * [1, -1, -1],
    '+z': lambda x: np.stack([x[..., 0], -x[..., 2], x[..., 1]], axis=-1),
    '-z': lambda x: np.stack([x[..., 0], x[..., 2], -x[..., 1]], axis=-1),
    '+x': lambda x: np.stack([x[..., 1], -x[..., 0], x[..., 2]], axis=-1),
    '-x': lambda x: np.stack([-x[..., 1], x[..., 0], x[..., 2]], axis=-1),
}


@pytest.mark.parametrize('up', TURNED)
def test_the_axis_that_points_up(bow, up):
    turned = TURNED[up](bow)
    assert odd_vertical(turned, NTU25) == ('' if up == '+y' else up)
    azure = map_layout(bow, 'ntu25', 'azure32')  # turned: y points down there
    assert odd_vertical(azure, get_layout('azure32')) == ''
    assert odd_vertical(azure * [1, -1, -1], get_layout('azure32')) == '+y'
    hand = np.ones((1, 2, 21, 3))
    assert odd_vertical(hand, get_layout('hands21')) == ''
    assert odd_vertical(np.zeros_like(bow), NTU25) == ''


def test_some_may_lie():
    report = Report()
    for up in ('-y', '-y', '+z', ''):
        report.add(Found(up=up))
    assert not report.lines()
    report.add(Found(up='-y'))
    (line,) = report.lines()
    assert line.startswith('3 of 5 recordings have heads above feet along -y')
    assert line.endswith('turn them: negate y and z')


def test_folders_and_encoders_take_the_unit(bow, tmp_path):
    (tmp_path / 'source').mkdir()
    path = tmp_path / 'source/mine.npy'
    np.save(path, bow * 1000)
    out = str(tmp_path / 'out.pkl')
    files = list_files([str(tmp_path / 'source')])
    with pytest.raises(ValueError, match='none of 1 recordings can be used.*--unit mm'):
        prepare(FolderReader(files), out, workers=1)
    prepare(FolderReader(files, unit='mm'), out, workers=1)
    (annotation,) = load_annotations(out)['annotations']
    np.testing.assert_allclose(annotation['keypoint'], bow, rtol=1e-5)

    with pytest.raises(ValueError, match="mine.npy' has a person who extends .*unit='mm'"):
        load_encoder('generated-joint', device='cpu').embed(path)
    encoder = load_encoder('generated-joint', device='cpu', unit='mm')
    rows = [
        encoder.embed(path)[0],
        encoder.embed(bow * 1000)[0],
        encoder.embed_recordings(path).features[0],
        encoder.embed(out)[0],  # in meters already
        load_encoder('generated-joint', device='cpu').embed(bow)[0],
    ]
    np.testing.assert_allclose(rows, [rows[-1]] * 5, rtol=1e-3, atol=1e-4)
