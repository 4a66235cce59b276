"""Curves of a training and of KNN accuracy: every line against the points it is drawn from."""

import matplotlib.image
import pytest

from aimclr_mm.utils.training_log import History
from aimclr_mm.visualization.curves import draw_knn_curves, draw_training
from aimclr_mm.visualization.figures import save_figure
from tests.evaluation.helpers import POINTS

HISTORY = History(
    train={e: dict(loss=10.0 / e, chance=12.0, cosine=1.0 / e) for e in range(1, 5)},
    validation={4: {'knn/top1': 50.0}},
)


def test_training_has_a_chart_per_logged_value():
    loss, accuracy, cosine = draw_training(HISTORY).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [
        [[1, 10], [2, 5], [3, 10 / 3], [4, 2.5]],
        [[1, 12], [2, 12], [3, 12], [4, 12]],
    ]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ['loss', 'chance']
    assert accuracy.lines[0].get_xydata().tolist() == [[4, 50]]
    assert accuracy.lines[0].get_marker() == 'o'
    assert cosine.lines[0].get_ydata().tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert cosine.get_ylim()[0] <= 0 and cosine.get_ylim()[1] >= 1


def test_training_picture_is_written(tmp_path):
    save_figure(draw_training(HISTORY), str(tmp_path / 'training.png'))
    image = matplotlib.image.imread(tmp_path / 'training.png')
    assert min(image.shape[:2]) > 300 and image[..., :3].std() > 0.02


def test_picture_shows_the_points_and_names_the_runs():
    over_epochs, over_k = draw_knn_curves(POINTS, [1, 20]).axes
    assert [line.get_xydata().tolist() for line in over_epochs.lines] == [
        [[2, 30], [4, 40]],
        [[4, 41]],
        [[6, 20]],
    ]
    assert [line.get_xydata().tolist() for line in over_k.lines] == [
        [[1, 41], [20, 46]],
        [[1, 20], [20, 21]],
    ]
    logged, computed, other = (line.get_color() for line in over_epochs.lines)
    assert logged == computed != other == over_k.lines[1].get_color()
    assert [text.get_text() for text in over_k.get_legend().get_texts()] == [
        'A',
        'B',
        'logged',
        'checkpoints',
    ]
    assert 'k = 1' in over_epochs.get_title()


def test_left_panel_takes_the_first_k_that_is_known():
    assert 'k = 20' in draw_knn_curves(POINTS, [5, 20, 1]).axes[0].get_title()


@pytest.mark.parametrize('path', ['a.jpg', 'a', 'a.png.txt'])
def test_other_formats_are_refused(path):
    with pytest.raises(ValueError, match='a picture is a .png, .svg or .pdf file'):
        save_figure(draw_training(HISTORY), path)
