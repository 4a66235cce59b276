"""Random movements as a data set that never repeats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmaction.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from aimclr_mm.datasets.batch import SkeletonBatch
from aimclr_mm.datasets.skeleton_dataset import build_transform
from aimclr_mm.skeletons import LayoutLike, get_layout
from aimclr_mm.transforms import SkeletonTransform
from aimclr_mm.utils.arguments import check_choice
from aimclr_mm.utils.device import resolve_device

from .performance import perform
from .program import Program, random_families
from .sensor import add_depth_noise, add_estimator_noise, film, project, to_coco


def record(program: Program, frames: int, layout: str = 'ntu25') -> Tensor:
    """Record a performance of each program by a new random person.

    Args:
        program: N programs.
        frames: T, the length of the clip.
        layout: ``ntu25`` for a Kinect, meters; ``coco17`` for a pose estimator, pixels of a picture
            of 1920 x 1080 and a score.

    Returns:
        (N, T, V, 3) joints.
    """
    joints = perform(program, frames)
    if layout == 'coco17':
        return add_estimator_noise(project(film(to_coco(joints))))
    return add_depth_noise(film(joints))


@DATASETS.register_module()
class RandomMovements(Dataset):
    """Pairs of performances of random movement programs, generated on demand.

    The two clips of a sample are performances of one program that differ in body, tempo, posture,
    habits, facing and sensor. With ``pairs=True`` of the data preprocessor the query and
    the extreme view are made of the first, the key view of the second. A program is never drawn
    twice: an epoch is only a number of samples.

    With ``family`` above 1, consecutive batches hold variants of the same movements, which then are
    among the negatives in the memory bank: the encoder has to look at details. The sampler must not
    shuffle.

    All numbers come from torch's global generator, which
    :class:`~aimclr_mm.engine.EpochSeedHook` seeds for each batch, so that runs repeat and resume
    exactly. For that, load batches in the main process (``num_workers=0``).

    One person is generated, since the preprocessing centers and turns each person separately and
    the encoder averages over people.

    Args:
        length: samples per epoch.
        frames: T, the length of the clips. The preprocessing needs no ``ResizeClip``.
        layout: ``ntu25`` or ``coco17``, see :func:`record`.
        preprocess: transforms of the clips, as in
            :class:`~aimclr_mm.datasets.skeleton_dataset.SkeletonDataset`.
        performances: clips of a sample.
        family: F, the number of variants of a movement (:func:`~.program.random_families`), one in
            each of F consecutive batches.
        device: where to generate; by default on a GPU where there is one, which is fast enough for
            training on it.
    """

    metainfo: dict = {}  # of mmengine's datasets

    def __init__(
        self,
        length: int,
        frames: int = 32,
        layout: LayoutLike = 'ntu25',
        preprocess: Sequence[dict] = (),
        performances: int = 2,
        family: int = 1,
        device: str | None = None,
    ) -> None:
        sizes = dict(length=length, frames=frames, performances=performances, family=family)
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f'RandomMovements: {name}={value}; it must be at least 1')
        layout = get_layout(layout)
        check_choice('RandomMovements: layout', layout.name, ('ntu25', 'coco17'))

        self.length = length
        self.frames = frames
        self.layout = layout
        self.performances = performances
        self.family = family
        self.device = resolve_device(device)
        self._pending: list[Tensor] = []  # batches that are generated
        self._last = -1  # first index of the last batch
        self.preprocess = [build_transform(step, layout) for step in preprocess]
        others = [step for step in self.preprocess if not isinstance(step, SkeletonTransform)]
        if others:
            raise ValueError(
                f'RandomMovements: {type(others[0]).__name__} cannot be applied to a batch; use '
                'transforms of aimclr_mm'
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> SkeletonBatch:
        """Return a sample as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> SkeletonBatch:
        """Generate a batch, inputs (N, performances, 1, T, V, 3); only their number matters."""
        if len(indices) and not 0 <= min(indices) <= max(indices) < self.length:
            raise IndexError(f'RandomMovements has {self.length} samples; indices={indices}')

        restarts = not self._pending or indices[0] <= self._last  # an epoch
        if restarts or len(self._pending[0]) != len(indices):
            self._pending = self._generate(len(indices))
        self._last = indices[0]
        return SkeletonBatch(self._pending.pop(0))

    def _generate(self, n: int) -> list[Tensor]:
        """Return the inputs of ``family`` batches of n samples."""
        with torch.device(self.device):
            programs = random_families(n, self.family).repeat(self.performances)
            clips = record(programs, self.frames, self.layout.name)[:, None]  # (F * N * 2, 1, ...)
            for step in self.preprocess:
                clips = step.batch(clips)
        return list(clips.view(self.family, n, self.performances, *clips.shape[1:]))
