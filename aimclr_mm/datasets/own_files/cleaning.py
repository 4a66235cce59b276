"""Frames without a body and missing joints of own recordings.

Pose estimators and depth sensors miss people and joints. A missing joint is all zeros (NaN in a
file) or has score 0; a frame in which all joints of all people are missing holds no body.

``interpolate`` (the default)
    Linear interpolation over time, of each joint of each person: joints in frames in which the
    person is seen, from the nearest frames that show the joint, however far (held at the ends); and
    whole people in gaps of at most :data:`MAX_GAP` frames. Then frames without a body are left out:
    at both ends, where nothing happens yet, and in longer gaps, where nobody knows what happened
    and a straight line would be an invented slow movement.
``drop``
    All frames without a body are left out; nothing is filled.
``keep``
    The recording stays as it is.

A joint that is never seen stays at zero. The functions of tensors are part of exported encoders,
too (:mod:`aimclr_mm.apis.export`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import Tensor

from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.arguments import check_choice

from .conventions import TURNS, odd_vertical

MISSING = ('interpolate', 'drop', 'keep')
MAX_GAP = 15  # frames, half a second at 30 frames per second
EXAMPLES = 5  # joints in a message


# --- tensors ---


def seen_joints(x: Tensor, dims: int) -> Tensor:
    """Return which joints of skeletons (N, M, T, V, C) are not missing, (N, M, T, V) boolean.

    Args:
        x: d coordinates, then a score if C exceeds d. Scores that are all zero do not count.
        dims: d, the number of coordinates.
    """
    seen = x[..., :dims].ne(0).any(dim=-1)
    if x.shape[-1] == dims:
        return seen
    scored = x[..., dims].gt(0)
    return seen & (scored | ~scored.flatten(1).any(dim=1)[:, None, None, None])


def _around(seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nearest true frames of a mask (N, M, T, ...), before and after each frame.

    Returns:
        The true frame at or before each frame, the one at or after it (at the ends, where one does
        not exist, both are the other one), and where both exist. (N, M, T, ...) each.
    """
    total = seen.shape[2]
    shape = [-1 if axis == 2 else 1 for axis in range(seen.ndim)]
    place = torch.arange(total, device=seen.device).view(shape)
    ordered = torch.where(seen, place, total).sort(dim=2).values  # true frames first

    upto = seen.long().cumsum(dim=2)  # true frames up to each frame
    last = upto[:, :, -1:]
    behind = upto - seen.long()  # true frames before it
    low = ordered.gather(2, (upto - 1).clamp(min=0)).clamp(max=total - 1)
    high = ordered.gather(2, torch.minimum(behind, (last - 1).clamp(min=0))).clamp(max=total - 1)
    return low, high, (upto > 0) & (behind < last)


def fill(x: Tensor, dims: int, max_gap: int = MAX_GAP) -> Tensor:
    """Interpolate missing joints over time; joints that stay missing become zeros.

    Args:
        x: (N, M, T, V, C) skeletons.
        dims: d, the number of coordinates; a score after them is interpolated, too.
        max_gap: frames up to which the absence of a person is filled.
    """
    seen = seen_joints(x, dims)
    body = seen.any(dim=3)  # (N, M, T)
    low, high, inside = _around(body)
    present = body | (inside & (high - low - 1 <= max_gap))

    low, high, _ = _around(seen)
    place = torch.arange(x.shape[2], device=x.device)[:, None]
    weight = (place - low).to(x.dtype) / (high - low).clamp(min=1).to(x.dtype)
    size = (*low.shape, x.shape[-1])
    before, after = (x.gather(2, frame[..., None].expand(size)) for frame in (low, high))
    between = torch.lerp(before, after, weight.clamp(0, 1)[..., None])

    filled = ~seen & present[..., None] & seen.any(dim=2, keepdim=True)
    kept = torch.where(seen[..., None], x, 0.0)
    return torch.where(filled[..., None], between, kept)


def compact(x: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Move the frames that hold a body to the beginning; zeros follow.

    Returns:
        Skeletons (N, M, T, V, C) and the number of their frames that hold a body, (N,).
    """
    held = seen_joints(x, dims).flatten(3).any(dim=3).any(dim=1)  # (N, T)
    place = torch.arange(x.shape[2], device=x.device)
    order = torch.where(held, place, x.shape[2]).sort(dim=1).values.clamp(max=x.shape[2] - 1)
    count = held.sum(dim=1)
    moved = x.gather(2, order[:, None, :, None, None].expand(x.shape))
    return torch.where((place < count[:, None])[:, None, :, None, None], moved, 0.0), count


def clean_batch(x: Tensor, dims: int, missing: str) -> Tensor:
    """Clean skeletons (N, M, T, V, C); the frames that are left out are zeros at the end."""
    x = torch.where(x.isnan(), 0.0, x)
    if missing == 'keep':
        return x
    cleaned, count = compact(fill(x, dims) if missing == 'interpolate' else x, dims)
    return torch.where((count > 0)[:, None, None, None, None], cleaned, x)


# --- recordings ---


@dataclass
class Found:
    """Missing frames and joints of a recording, and how they were handled.

    Attributes:
        filled: frames without a body that were interpolated.
        ends: frames without a body that were left out at the ends.
        gaps: the same between frames with a body.
        kept: frames without a body that are still there.
        joints: missing joints that were interpolated, in frames with a body.
        unseen: joints that a person never shows.
        empty: whether no frame holds a body.
        reordered: frames in which people had changed places, see :mod:`.people`.
        up: axis that points up if it is not the usual one, see
            :func:`~.conventions.odd_vertical`.
    """

    filled: int = 0
    ends: int = 0
    gaps: int = 0
    kept: int = 0
    joints: int = 0
    unseen: list[str] = field(default_factory=list)
    empty: bool = False
    reordered: int = 0
    up: str = ''

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def clean(annotation: dict, layout: Layout, missing: str) -> tuple[dict, Found]:
    """Return an annotation without frames that hold no body, and what was found.

    Its field ``reordered`` (:mod:`.people`) is moved to what was found. The axis that points up is
    looked at, too.

    Args:
        annotation: ``keypoint`` (M, T, V, C) and maybe ``keypoint_score``, zeros for missing
            joints; it is not changed.
        layout: its joint layout.
        missing: one of :data:`MISSING`.

    Raises:
        ValueError: if ``missing`` is unknown.
    """
    check_choice('missing', missing, MISSING)
    reordered = annotation.get('reordered', 0)
    if reordered:
        annotation = {key: value for key, value in annotation.items() if key != 'reordered'}
    cleaned, found = _clean(annotation, layout, missing)
    found.reordered = reordered
    found.up = odd_vertical(annotation['keypoint'], layout)
    return cleaned, found


def _clean(annotation: dict, layout: Layout, missing: str) -> tuple[dict, Found]:
    """Return the clean annotation and what was missing."""
    keypoint, score = annotation['keypoint'], annotation.get('keypoint_score')
    parts = [keypoint] if score is None else [keypoint, score[..., None]]
    x = torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))[None]

    dims = layout.dims
    seen = seen_joints(x, dims)[0]  # (M, T, V)
    held = seen.any(dim=2).any(dim=0).numpy()  # (T,)
    if not held.any():
        return annotation, Found(empty=True)
    people = seen.any(dim=2).any(dim=1)  # (M,) those who are there at all
    never = people[:, None] & ~seen.any(dim=1)  # (M, V)
    found = Found(unseen=[layout.joints[i] for i in np.flatnonzero(never.any(dim=0).numpy())])
    if missing == 'keep':
        found.kept = int((~held).sum())
        return annotation, found
    is_whole = (seen == seen.any(dim=1, keepdim=True)).all()  # all joints that are seen at all
    if held.all() and (missing == 'drop' or is_whole):
        return annotation, found

    if missing == 'interpolate':
        x = fill(x, dims)
    now = seen_joints(x, dims)[0]
    left = now.any(dim=2).any(dim=0).numpy()
    ends = np.flatnonzero(left)[[0, -1]]
    inner = int((~left[ends[0] : ends[1]]).sum())
    found.filled = int((left & ~held).sum())
    found.ends, found.gaps = int((~left).sum()) - inner, inner
    found.joints = int((now & ~seen)[:, held].sum())

    arrays = x[0, :, torch.from_numpy(left)].numpy()
    coordinates = np.ascontiguousarray(arrays[..., : keypoint.shape[3]])
    result = dict(annotation, keypoint=coordinates, total_frames=len(arrays[0]))
    if score is not None:
        result['keypoint_score'] = arrays[..., -1]
    return result, found


class Report:
    """Counts over recordings, said once.

    Args:
        missing: what was done, one of :data:`MISSING`.
        things: what is counted, such as ``recordings`` or ``windows``.
    """

    def __init__(self, missing: str = 'interpolate', things: str = 'recordings') -> None:
        check_choice('missing', missing, MISSING)
        self.missing = missing
        self.things = things
        self.total = 0  # recordings
        self.found: list[Found] = []  # those with something missing

    def add(self, found: Found | Mapping[str, Any]) -> None:
        """Count a recording."""
        found = found if isinstance(found, Found) else Found(**found)
        self.total += 1
        if found != Found():
            self.found.append(found)

    def log(self) -> None:
        """Log the sentences."""
        for line in self.lines():
            MMLogger.get_current_instance().info(line)

    def _of(self, recordings: list[Found]) -> str:
        return f'{len(recordings)} of {self.total} {self.things}'

    def lines(self) -> list[str]:
        """Return a sentence for each kind of finding."""
        texts = dict(
            filled='{} filled by interpolation',
            ends='{} dropped at the ends',
            gaps=f'{{}} cut out of gaps longer than {MAX_GAP} frames',
            kept='{} kept as zeros',
        )
        if self.missing == 'drop':
            texts['gaps'] = '{} dropped in between'

        lines = []
        sums = {name: sum(getattr(f, name) for f in self.found) for name in texts}
        if any(sums.values()):
            having = [f for f in self.found if any(getattr(f, name) for name in texts)]
            done = ', '.join(texts[name].format(count) for name, count in sums.items() if count)
            lines.append(f'{self._of(having)} had frames without a body: {done}')
        if having := [f for f in self.found if f.joints]:
            count = sum(f.joints for f in having)
            lines.append(f'{self._of(having)} had missing joints: {count} filled by interpolation')
        if having := [f for f in self.found if f.reordered]:
            count = sum(f.reordered for f in having)
            lines.append(
                f'{self._of(having)} had people who change places: {count} frames put in order, by '
                'track ids where the file has them, else by distance'
            )
        if having := [f for f in self.found if f.unseen]:
            names = list(dict.fromkeys(name for f in having for name in f.unseen))
            more = f' and {len(names) - EXAMPLES} more' if len(names) > EXAMPLES else ''
            lines.append(
                f'{self._of(having)} have joints that are never seen and stay at zero: '
                f'{", ".join(names[:EXAMPLES])}{more}'
            )
        for axis, turn in TURNS.items():  # a few people may lie or stand on their hands
            having = [f for f in self.found if f.up == axis]
            if len(having) > self.total / 2:
                lines.append(
                    f'{self._of(having)} have heads above feet along {axis}, and will be taken for '
                    f'people who lie or stand on their heads; turn them: {turn}'
                )
        if having := [f for f in self.found if f.empty]:
            lines.append(f'{self._of(having)} hold no body')
        return lines
