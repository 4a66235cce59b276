"""A minute of training on random movements beats a random encoder on actions not seen."""

from pathlib import Path

import numpy as np
import pytest

from aimclr_mm.apis import EmbeddingInferencer, load_encoder, nearest
from aimclr_mm.datasets import load_annotations
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.engine.optim_wrapper import has_fast_bfloat16
from tests.runs import ROOT, finish, start

CONFIG = ROOT / 'configs' / 'skeletonclr_movements_demo.py'
UTDMHAD = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'utdmhad' / 'utdmhad_3d.pkl'
SHORT = ['train_dataloader.dataset.length=5120', 'train_cfg.max_epochs=4']
SHORT += ['param_scheduler.1.T_max=4']
MARGIN = 10  # points

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def train(folder: Path, seed: int) -> EmbeddingInferencer:
    """Train the demonstration's encoder for 20,480 pairs: 50 s on a core with bfloat16."""
    options = ['--no-validate', '--seed', str(seed), *['--amp'] * has_fast_bfloat16()]
    process = start(CONFIG, folder / 'work', *options, '--cfg-options', *SHORT)
    assert finish(process, 800) == 0, (folder / 'work.log').read_text()[-3000:]
    return load_encoder(CONFIG, folder / 'work' / 'epoch_4.pth', device='cpu')


def accuracy(encoder: EmbeddingInferencer, data: dict, layout: str) -> float:
    """Return the share of test sequences in % whose nearest neighbor has their label."""
    parts = []
    for split in ('xsub_train', 'xsub_val'):
        names = set(data['split'][split])
        part = [a for a in data['annotations'] if a['frame_dir'] in names]
        embedded = encoder.embed([a['keypoint'] for a in part], layout=layout)
        parts.append((embedded, np.array([a['label'] for a in part])))
    (gallery, labels), (queries, wanted) = parts
    found = nearest(queries, gallery, k=1).indices[:, 0]
    return 100 * float((labels[found] == wanted).mean())


@pytest.fixture(scope='module')
def encoders(tmp_path_factory) -> dict[str, EmbeddingInferencer]:
    """The random encoder of the config, and one that is trained for a minute."""
    trained = train(tmp_path_factory.mktemp('movements'), seed=0)
    return dict(trained=trained, random=load_encoder(CONFIG, 'random', device='cpu'))


def test_generated_actions(encoders):
    data = Synthetic((), 6, 2, 2).dataset()
    found = {name: accuracy(encoder, data, 'ntu25') for name, encoder in encoders.items()}
    assert found['trained'] > found['random'] + MARGIN, found


def test_recorded_actions(encoders):
    if not UTDMHAD.is_file():
        pytest.skip(f'{UTDMHAD} is not here')
    data = load_annotations(str(UTDMHAD))
    found = {name: accuracy(encoder, data, 'kinect20') for name, encoder in encoders.items()}
    assert found['trained'] > found['random'] + MARGIN, found
