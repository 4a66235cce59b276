"""People of a recording, each in one row.

Pose estimators list the people of each frame in any order, so two people may swap places, and when
one leaves, another moves up. Where a file has track ids, a person is who has the same id. Elsewhere
a person is who is nearest to where the person was seen last: the mean distance of the joints that
both poses show, as small as possible over all people. The order of the file is kept unless another
one is at least twice as near.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UNLIKELY = 1e12  # distance to a row that cannot be taken
NEARER = 0.5  # of the distance in the order of the file, up to which another order is taken


def follow_people(keypoint: np.ndarray, tracks: np.ndarray | None = None) -> np.ndarray:
    """Return the row of each person in each frame, (M, T).

    Args:
        keypoint: (M, T, V, C) coordinates; NaN or zeros are missing joints.
        tracks: (M, T) track ids, negative where unknown.
    """
    people, frames = keypoint.shape[:2]
    seen = ~np.isnan(keypoint).any(axis=3) & keypoint.any(axis=3)  # (M, T, V)
    there = seen.any(axis=2)
    poses = np.where(seen[..., None], keypoint, np.nan)

    last = np.full((people, *keypoint.shape[2:]), np.nan, dtype=keypoint.dtype)
    known: dict[int, int] = {}  # track id -> row
    kept = np.arange(people)  # row of each place of the file
    rows = np.empty((people, frames), dtype=np.int64)
    for frame in range(frames):
        found = np.flatnonzero(there[:, frame])
        if len(found):
            ids = np.full(people, -1) if tracks is None else tracks[:, frame]
            taken = _by_track(found, ids, known)
            _by_distance(found, poses[:, frame], last, kept, taken)
            kept = _permutation(taken, kept)
            known.update({int(ids[place]): row for place, row in taken.items() if ids[place] >= 0})
            for place, row in taken.items():
                last[row] = np.where(np.isnan(poses[place, frame]), last[row], poses[place, frame])
        rows[:, frame] = kept
    return rows


def _by_track(found: np.ndarray, ids: np.ndarray, known: dict[int, int]) -> dict[int, int]:
    """Return place -> row of the people whose track id has a row."""
    taken: dict[int, int] = {}
    for place in found.tolist():
        row = known.get(int(ids[place])) if ids[place] >= 0 else None
        if row is not None and row not in taken.values():
            taken[place] = row
    return taken


def _by_distance(
    found: np.ndarray,
    poses: np.ndarray,
    last: np.ndarray,
    kept: np.ndarray,
    taken: dict[int, int],
) -> None:
    """Add place -> row of the other people of a frame to ``taken``.

    Args:
        found: places of the people in the file.
        poses: (M, V, C) their poses.
        last: (M, V, C) the last pose of each row.
        kept: row that each place had before.
        taken: place -> row of the people that are known; completed.
    """
    places = [place for place in found.tolist() if place not in taken]
    if not places:
        return
    distance = np.array([_distances(poses[place], last) for place in places])  # (P, M)
    distance[:, list(taken.values())] = UNLIKELY
    ways = np.arange(len(places))

    same = kept[places]
    if len(places) == 1:
        best = distance.argmin(axis=1)
    else:
        from scipy.optimize import linear_sum_assignment

        best = linear_sum_assignment(distance)[1]
    near, nearest = distance[ways, same].sum(), distance[ways, best].sum()
    taken.update(zip(places, (best if nearest < NEARER * near else same).tolist()))


def _distances(pose: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the mean distance of a pose (V, C) to the last pose of each row, (M,).

    A row without a pose, or without a joint in common, is as far as the pose is large.
    """
    distance = np.linalg.norm(last - pose, axis=2)  # (M, V)
    common = ~np.isnan(distance)
    size = np.linalg.norm(np.nanmax(pose, axis=0) - np.nanmin(pose, axis=0))
    sums = np.where(common, distance, 0).sum(axis=1)
    return np.where(common.any(axis=1), sums / common.sum(axis=1).clip(min=1), size)


def _permutation(taken: dict[int, int], kept: np.ndarray) -> np.ndarray:
    """Return the row of each place: the given ones, and those of before where they are free."""
    result = np.full(len(kept), -1)
    result[list(taken)] = list(taken.values())
    free = [row for row in kept.tolist() if row not in taken.values()]
    for place in np.flatnonzero(result < 0).tolist():
        row = int(kept[place])
        result[place] = free.pop(free.index(row) if row in free else 0)
    return result


def put_in_rows(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a recording with each person in one row.

    ``reordered`` is the number of frames in which the people had other places.
    """
    keypoint = fields['keypoint']
    if len(keypoint) < 2:
        return fields

    rows = follow_people(keypoint, fields.get('track_ids'))
    places = rows.argsort(axis=0)  # place of each row
    moved = (places != np.arange(len(keypoint))[:, None]).any(axis=0)
    there = (keypoint.any(axis=(2, 3)) & ~np.isnan(keypoint).all(axis=(2, 3))).any(axis=0)
    if not (moved & there).any():
        return fields

    frames = np.arange(keypoint.shape[1])
    names = ('keypoint', 'keypoint_score', 'track_ids')
    arrays = {name: fields[name][places, frames] for name in names if name in fields}
    return {**fields, **arrays, 'reordered': int((moved & there).sum())}
