"""Sequences to draw."""

import numpy as np

from aimclr_mm.skeletons import LAYOUTS, Layout


def recording(
    people: int = 1, frames: int = 12, layout: Layout = LAYOUTS['ntu25'], seed: int = 0
) -> dict:
    """Return an annotation whose coordinates are all nonzero."""
    shape = (people, frames, layout.num_joints, layout.dims)
    keypoint = np.random.default_rng(seed).uniform(0.1, 1, shape)
    return dict(frame_dir='made up', keypoint=keypoint.astype(np.float32), total_frames=frames)
