"""tools/visualize.py: pictures and output of its verbs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from PIL import Image

from aimclr_mm.apis import cli
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from tests.runs import ROOT, call_tool

CONFIG = str(ROOT / 'configs/aimclr_synthetic_xsub_joint.py')


@pytest.fixture
def tool(monkeypatch, tmp_path, capsys):
    """Run tools/visualize.py in a folder of its own with wave.npy; return what it prints."""
    monkeypatch.chdir(tmp_path)
    np.save('wave.npy', np.random.default_rng(0).normal(size=(12, 25, 3)).astype(np.float32))

    def run(*arguments) -> str:
        cli.run(lambda: call_tool('visualize.py', *arguments))
        return capsys.readouterr().out

    return run


@pytest.fixture
def trained():
    """data.pkl with few sequences, and model.pth whose key encoder is another than the encoder."""
    write_pickle(Synthetic((), 2, 3, 1).dataset(), 'data.pkl')
    cfg = Config.fromfile(CONFIG)
    with torch.random.fork_rng():
        model = MODELS.build(cfg.model)
        model.key_encoder.init_weights()
    torch.save(dict(state_dict=model.state_dict()), 'model.pth')
    return model


def test_sequence_as_film_strip_and_animation(tool):
    assert tool('sequence', 'wave.npy', '--out', 'wave.png', '--frames', 3).splitlines() == [
        'wave.png'
    ]
    tool('sequence', 'wave.npy', '--out', 'wave.gif', '--fps', 20)
    with Image.open('wave.png') as picture, Image.open('wave.gif') as animation:
        assert picture.size[0] > 1000 and animation.n_frames == 12


@pytest.mark.slow
def test_augmentations_and_eadm(tool, trained):
    tool('augmentations', 'wave.npy', '--config', CONFIG, '--out', 'first.svg')
    tool('augmentations', 'wave.npy', '--config', CONFIG, '--out', 'again.png', '--seed', 1)
    assert (
        '<!-- GaussianBlur (p = 0.5): sigma ' in Path('first.svg').read_text()
        and Path('again.png').exists()
    )
    printed = tool(
        'eadm',
        'wave.npy',
        '--config',
        CONFIG,
        '--checkpoint',
        'model.pth',
        '--out',
        'eadm.png',
        '--cfg-options',
        'model.eadm.keep_margin=0.66',
    )
    assert printed.startswith('spatial mask: ') and Path('eadm.png').exists()
    with pytest.raises(SystemExit, match='has no EADM'):
        tool(
            'eadm',
            'wave.npy',
            '--config',
            CONFIG,
            '--checkpoint',
            'model.pth',
            '--out',
            'none.png',
            '--with',
            ROOT / 'configs/methods/skeletonclr.py',
        )


@pytest.mark.slow
def test_neighbors_are_those_of_query_and_key_encoder(tool, trained):
    """Printed similarities equal those of both encoders on the preprocessed training split."""
    from aimclr_mm.visualization.skeletons import training_data

    options = ('--ann-file', 'data.pkl', '--out', 'neighbors.png', '-k', 2)
    first, printed = (
        tool('neighbors', CONFIG, 'model.pth', *options, '--queries', 2).splitlines()
        for _ in range(2)
    )
    data = training_data(Config.fromfile(CONFIG), 'data.pkl')
    x = torch.stack([data[i]['inputs'][0] for i in range(len(data))]).float()
    names = [data.get_data_info(i)['frame_dir'] for i in range(len(data))]
    with torch.no_grad():
        similarity = (trained.eval().encoder(x) @ trained.key_encoder.eval()(x).T).numpy()
    for line in (0, 3):
        own = names.index(printed[line].split()[-1])
        order = [i for i in np.argsort(-similarity[own]) if i != own]
        for rank in range(2):
            words = printed[line + 1 + rank].split()
            assert float(words[1].rstrip(',')) == pytest.approx(
                similarity[own, order[rank]], abs=6e-4
            )
    assert len(printed) == 7 and Path('neighbors.png').exists()
    assert first[-7:] == printed  # before them it tells that it preprocesses
    with pytest.raises(SystemExit, match="no sequence 'x'; the first of its"):
        tool('neighbors', CONFIG, 'model.pth', *options, '--query', 'x')


def test_pictures_of_the_documentation():
    """docs/pictures.md shows all of docs/images with their commands; the files are small."""
    text = (ROOT / 'docs/pictures.md').read_text(encoding='utf-8')
    for path in sorted((ROOT / 'docs/images').iterdir()):
        assert f'](images/{path.name})' in text and f'--out docs/images/{path.name}\n' in text
        assert path.stat().st_size < 300_000, path.name
