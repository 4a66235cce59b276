"""NW-UCLA, Northwestern-UCLA Multiview Action3D (Wang et al., CVPR 2014), in the two forms that are in circulation.

JSON, as the field uses it (``all_sqe.zip``, which CTR-GCN's README points to): a file ``a01_s02_e03_v01.json`` for each
sequence (action 1, subject 2, environment and trial 3, view 1) with an object whose ``skeletons`` are T frames of 20
joints of 3 numbers. Its other fields repeat the name and are not used.

The authors' own download (``multiview_action``): a folder ``view_1/a01_s02_e03`` for each sequence, with a file
``frame_7_tc_1234_skeletons.txt`` for each frame (7, at time 1234). It is empty if no skeleton was found; else it has,
for each person, a line with one number and 20 lines ``x,y,z,state``. Frames are ordered by number, those without a
skeleton left out, and the first person is taken, all as most of the field's readers do. ``fileList.txt`` is not used.
Folders into which the frames of two recordings were put are refused.

Joints are Kinect v1's in the order of its SDK, in metres in the camera's frame. (The JSON form was made from the other
by third parties, who do not tell its unit.) Of the actions 1 (pick up with one hand), 2 (pick up with two hands), 3
(drop trash), 4 (walk around), 5 (sit down), 6 (stand up), 8 (donning), 9 (doffing), 11 (throw) and 12 (carry) the
classes 0 to 9 are made in this order.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Reader, match_name
from .sources import RecordingError, SourceFile
from .text import fits_float32, load_json, number_table, whole_number

JOINTS, DIMS, VALUES = 20, 3, 4
MAX_JSON, MAX_FRAME = 8 * 2**20, 2**16  # bytes
ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
VIEWS, TRAIN_VIEWS = (1, 2, 3), (1, 2)

_ENDING = '_skeletons.txt'
_NAME = re.compile(r'^a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)$')
_FOLDER = re.compile(r'view_?(\d)/(a\d\d_s\d\d_e\d\d)$')
_FRAME = re.compile(r'^frame_(\d{1,9})_tc_\d{1,20}$')


@dataclass(frozen=True)
class Folder:
    """A sequence in the authors' form.

    Args:
        path: the folder, behind its archive if it lies in one.
        files: its frames.
    """

    path: str
    files: tuple[SourceFile, ...]

    def __str__(self) -> str:
        return self.path

    @property
    def stem(self) -> str | None:
        """The name that the sequence has in the other form; None if the folder is not where it should be."""
        match = _FOLDER.search(self.path)
        return f'{match[2]}_v{int(match[1]):02d}' if match else None


def _is_joint(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == DIMS
        and all(type(number) is float for number in value)
    )


def read_json(content: bytes) -> np.ndarray:
    """The skeletons of a JSON file.

    Returns:
        (T, 20, 3) float32.

    Raises:
        RecordingError: if the file is damaged; the message names frame and joint, counted from 1.
    """
    data = load_json(content, parse_int=float)
    frames = data.get('skeletons') if isinstance(data, dict) else None
    if not isinstance(frames, list):
        raise RecordingError("is no object with a list 'skeletons'")
    if not frames:
        raise RecordingError('has no frame')
    for number, frame in enumerate(frames, 1):
        if not isinstance(frame, list) or len(frame) != JOINTS:
            found = (
                f'{len(frame)} joints' if isinstance(frame, list) else f'a {type(frame).__name__}'
            )
            raise RecordingError(
                f'frame {number}: has {found}; it must be a list of {JOINTS} joints'
            )
        for joint, value in enumerate(frame, 1):
            if not _is_joint(value):
                raise RecordingError(f'frame {number}, joint {joint}: is no list of {DIMS} numbers')
    joints = np.array(frames, dtype=np.float64)
    broken = np.argwhere(~fits_float32(joints))
    if len(broken):
        raise RecordingError(
            f'frame {broken[0, 0] + 1}, joint {broken[0, 1] + 1}: its numbers are not finite'
        )
    return joints.astype(np.float32)


def read_frame(content: bytes) -> np.ndarray | None:
    """The first person of a frame in the authors' form.

    Returns:
        (20, 3) float32, or None if there is nobody.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """
    table = number_table(content.rstrip(), VALUES, separator=',')
    lines, block = len(table), 1 + JOINTS
    for first in range(0, lines, block):
        whole_number(table[first, 0], first + 1, "the number above a person's joints", 0, 10**9)
        if not np.isnan(table[first, 1:]).all():
            raise RecordingError(
                f'line {first + 1}: more than one value where the next person should begin'
            )
    if lines <= 1:
        return None
    if lines % block:
        raise RecordingError(
            f'line {lines}: the file ends after {lines % block - 1} of {JOINTS} joints of a person; '
            'it is truncated'
        )
    broken = np.flatnonzero(~fits_float32(table[1:block]))
    if len(broken):
        raise RecordingError(f'line {broken[0] + 2}: a joint needs {VALUES} finite numbers')
    return table[1:block, :DIMS].astype(np.float32)


def read_folder(files: tuple[SourceFile, ...]) -> np.ndarray:
    """The frames of a sequence in the authors' form that have a skeleton, in their order.

    Returns:
        (T, 20, 3) float32.

    Raises:
        RecordingError: if a frame is damaged or there twice, or none has a skeleton; the message names the frame.
    """
    frames: dict[int, np.ndarray | None] = {}
    for file in files:
        match = _FRAME.match(os.path.basename(file.name).removesuffix(_ENDING))
        if not match:
            raise RecordingError(
                f'{os.path.basename(file.name)}: is not named like frame_1_tc_1234{_ENDING}'
            )
        number = int(match[1])
        if number in frames:
            raise RecordingError(
                f'has frame {number} twice; two recordings were put into this folder'
            )
        try:
            frames[number] = read_frame(file.read(MAX_FRAME))
        except RecordingError as error:
            raise RecordingError(f'{os.path.basename(file.name)}: {error}') from error
    found = [frames[number] for number in sorted(frames) if frames[number] is not None]
    if not found:
        raise RecordingError(f'has no skeleton in any of {len(frames)} frames')
    return np.stack(found)


class NWUCLA(Reader):
    """NW-UCLA: 1,494 recordings of 10 actions by 10 subjects from 3 views, one person of 20 joints in metres.

    ``published`` counts the 1,484 sequences of the JSON form, those that the field's results rest on.
    """

    name, layout, num_classes = 'nw_ucla', 'kinect20', len(ACTIONS)
    published = dict(xview_train=1020, xview_val=464)

    def recordings(self) -> list[SourceFile | Folder]:
        """JSON files, and folders of the authors' form whose sequence is not there as JSON.

        Raises:
            ValueError: if there are neither.
        """
        found: list[SourceFile | Folder] = [
            file for file in self.files if file.name.endswith('.json')
        ]
        known = {file.stem for file in found}
        folders: dict[str, list[SourceFile]] = {}
        for file in self.files:
            if file.name.endswith(_ENDING):
                folders.setdefault(os.path.dirname(str(file)).replace(os.sep, '/'), []).append(file)
        for path, files in sorted(folders.items()):
            folder = Folder(path, tuple(files))
            if folder.stem in known:
                self.leave_out('folders of sequences that are there as JSON', folder.stem)
            else:
                found.append(folder)
        if not found:
            raise ValueError(
                'the source holds neither JSON files like a01_s01_e00_v01.json nor frames like '
                f'view_1/a01_s01_e00/frame_1_tc_1234{_ENDING}; give the folder all_sqe (or all_sqe.zip) '
                'or the unpacked folder multiview_action'
            )
        return found

    def read(self, recording: SourceFile | Folder) -> list[dict]:
        """One sequence; its name says everything but the coordinates."""
        example = 'a01_s01_e00_v01.json, or like the folder view_1/a01_s01_e00'
        action, subject, _, view = map(
            int, match_name(recording.stem or '', _NAME, example).groups()
        )
        if action not in ACTIONS:
            raise RecordingError(f'has action {action} in its name; {self.name} has {ACTIONS}')
        if view not in VIEWS:
            raise RecordingError(f'has view {view} in its name; {self.name} has {VIEWS}')
        joints = (
            read_folder(recording.files)
            if isinstance(recording, Folder)
            else read_json(recording.read(MAX_JSON))
        )
        return [
            dict(
                frame_dir=recording.stem,
                label=ACTIONS.index(action),
                keypoint=joints[None],
                total_frames=len(joints),
                subject=subject,
                camera=view,
            )
        ]

    def splits(self, annotation: dict) -> list[str]:
        """Cross-view: the first two views train."""
        return ['xview_train' if annotation['camera'] in TRAIN_VIEWS else 'xview_val']
