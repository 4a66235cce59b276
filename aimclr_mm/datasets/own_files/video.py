"""Recordings from videos: a pose estimator writes one ``.npz`` file per video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from rich.progress import track

from aimclr_mm.utils.files import atomic_write

from .estimators import Estimator
from .pose_json import join_frames
from .shapes import MAX_FRAMES

EXTENSIONS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')


def find_videos(sources: Sequence[str]) -> list[str]:
    """Return the videos among files and folders.

    Raises:
        FileNotFoundError: if a source does not exist.
        ValueError: if there is no video.
    """
    found = []
    for source in sources:
        if not os.path.exists(source):
            raise FileNotFoundError(f'{source!r} does not exist; give videos or folders of them')
        if os.path.isfile(source):
            found.append(source)
            continue
        paths = [os.path.join(root, name) for root, _, names in os.walk(source) for name in names]
        found += sorted(path for path in paths if path.lower().endswith(EXTENSIONS))
    if not found:
        raise ValueError(f'there is no video ({", ".join(EXTENSIONS)}) in {", ".join(sources)}')
    return list(dict.fromkeys(found))


def output_names(videos: Sequence[str]) -> list[str]:
    """Return the name of the recording of each video: its path below their common folder.

    Raises:
        ValueError: if two videos have the same name.
    """
    folders = [os.path.dirname(os.path.abspath(video)) for video in videos]
    root = os.path.commonpath(folders)
    names = [os.path.splitext(os.path.relpath(os.path.abspath(v), root))[0] for v in videos]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'two videos are called {name!r} without extension; rename one')
    return [f'{name}.npz' for name in names]


def read_video(path: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the pictures (height, width, 3) of a video, and their times in milliseconds.

    Raises:
        ValueError: if it cannot be read.
    """
    import cv2

    video = cv2.VideoCapture(path)
    try:
        if not video.isOpened():
            raise ValueError('is not a video that OpenCV reads')
        rate = video.get(cv2.CAP_PROP_FPS)
        step = 1000 / rate if 1 <= rate <= 1000 else 1000 / 30
        for number in range(MAX_FRAMES):
            is_read, image = video.read()
            if not is_read:
                if not number:
                    raise ValueError('holds no picture that OpenCV reads')
                return
            yield image, round(number * step)
        raise ValueError(f'has more than {MAX_FRAMES} pictures')
    finally:
        video.release()


def estimate(path: str, estimator: Estimator) -> dict[str, Any]:
    """Return the arrays of the people in a video: ``keypoint``, ``keypoint_score``, ``img_shape``.

    Raises:
        ValueError: if it cannot be read, or shows nobody.
    """
    frames = []
    for image, time in read_video(path):
        frames.append(estimator(image, time))

    fields = join_frames(frames, estimator.layout)
    return fields if estimator.layout.dims == 3 else {**fields, 'img_shape': image.shape[:2]}


def write_recordings(
    sources: Sequence[str], out: str, make_estimator: Callable[[], Estimator]
) -> tuple[list[str], list[str]]:
    """Estimate the poses in videos and write ``OUT/<path of the video>.npz``.

    Args:
        sources: videos and folders of them.
        out: folder to write.
        make_estimator: makes the estimator of one video; it may follow people from frame to frame.

    Returns:
        The files that were written, and why other videos were left out.

    Raises:
        FileNotFoundError, ValueError: if a source or the weights are missing, or no video can be
            used.
    """
    videos = find_videos(sources)
    names = output_names(videos)
    make_estimator().close()  # report missing weights before the first video

    written = []
    problems = []
    for video, name in track(list(zip(videos, names)), 'Estimating poses'):
        try:
            with closing(make_estimator()) as estimator:
                arrays = estimate(video, estimator)
        except ValueError as error:
            problems.append(f'{video}: {error}')
            continue
        path = os.path.join(out, name)
        with atomic_write(path, 'wb') as file:
            np.savez_compressed(file, **arrays)
        written.append(path)

    if not written:
        raise ValueError(f'none of {len(videos)} videos can be used; the first: {problems[0]}')
    return written, problems
