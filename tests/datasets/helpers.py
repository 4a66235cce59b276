"""Small annotation files."""

import numpy as np


def annotation(
    name: str,
    label: int | None = 0,
    people: int = 1,
    frames: int = 4,
    joints: int = 25,
    dims: int = 3,
):
    """One sequence whose coordinates are random."""
    keypoint = (
        np.random.default_rng(0).normal(size=(people, frames, joints, dims)).astype(np.float32)
    )
    result = dict(frame_dir=name, keypoint=keypoint, total_frames=frames)
    return result if label is None else dict(result, label=label)


def content() -> dict:
    """Four sequences in two splits, and a split that is empty."""
    return dict(
        split=dict(train=['a', 'b'], val=['c'], nobody=[]),
        annotations=[annotation(name, label) for label, name in enumerate('abcd')],
    )
