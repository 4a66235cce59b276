"""NW-UCLA, Northwestern-UCLA Multiview Action3D (Wang et al., CVPR 2014), in both common forms.

JSON (``all_sqe.zip``, linked in the README of CTR-GCN; the usual form): one file
``a01_s02_e03_v01.json`` per sequence (action 1, subject 2, environment and trial 3, view 1) with an
object whose ``skeletons`` are T frames of 20 joints of 3 numbers. Its other fields repeat the name
and are ignored.

Download of the authors (``multiview_action``): one folder ``view_1/a01_s02_e03`` per sequence, with
one file ``frame_7_tc_1234_skeletons.txt`` per frame (number 7, time 1234). The file is empty if no
skeleton was found; otherwise it has, for each person, a line with one number and 20 lines
``x,y,z,state``. Frames are sorted by number, frames without a skeleton are left out, and the first
person is used, as in most readers of the field. ``fileList.txt`` is ignored. Folders with the
frames of two recordings are refused.

Joints are those of Kinect v1 in the order of its SDK, in meters in the camera frame. (The JSON form
was derived from the other one by third parties, who do not state its unit.) The actions 1 (pick up
with one hand), 2 (pick up with two hands), 3 (drop trash), 4 (walk around), 5 (sit down), 6 (stand
up), 8 (donning), 9 (doffing), 11 (throw) and 12 (carry) become the classes 0 to 9 in this order.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Reader, make_annotation, match_name
from .sources import RecordingError, SourceFile
from .text import fits_float32, load_json, number_table, whole_number

JOINTS = 20
DIMS = 3
VALUES = 4  # in the line of a joint
PERSON_LINES = 1 + JOINTS
MAX_JSON = 8 * 2**20  # bytes
MAX_FRAME = 2**16  # bytes
ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
VIEWS = (1, 2, 3)
TRAIN_VIEWS = (1, 2)

_ENDING = '_skeletons.txt'
_NAME = re.compile(r'^a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)$')
_FOLDER = re.compile(r'view_?(\d)/(a\d\d_s\d\d_e\d\d)$')
_FRAME = re.compile(r'^frame_(\d{1,9})_tc_\d{1,20}$')


@dataclass(frozen=True)
class FrameFolder:
    """A sequence in the form of the authors.

    Args:
        path: the folder, after the path of its archive if it is archived.
        files: files of the frames.
    """

    path: str
    files: tuple[SourceFile, ...]

    def __str__(self) -> str:
        return self.path

    @property
    def stem(self) -> str | None:
        """Name of the sequence in the JSON form; None if the path does not have the usual form."""
        match = _FOLDER.search(self.path)
        return f'{match[2]}_v{int(match[1]):02d}' if match else None


def read_json(content: bytes) -> np.ndarray:
    """Read the skeletons of a JSON file.

    Returns:
        (T, 20, 3) float32.

    Raises:
        RecordingError: if the file is damaged; the message names frame and joint (1-based).
    """
    data = load_json(content, parse_int=float)
    frames = data.get('skeletons') if isinstance(data, dict) else None
    if not isinstance(frames, list):
        raise RecordingError("is not an object with a list 'skeletons'")
    if not frames:
        raise RecordingError('has no frame')
    for number, frame in enumerate(frames, 1):
        _check_frame(frame, number)

    joints = np.array(frames, dtype=np.float64)
    broken = np.argwhere(~fits_float32(joints))
    if len(broken):
        frame, joint = broken[0] + 1
        raise RecordingError(f'frame {frame}, joint {joint}: its numbers are not finite')
    return joints.astype(np.float32)


def _check_frame(frame: Any, number: int) -> None:
    """Raise RecordingError if a frame is not a list of 20 lists of 3 numbers."""
    if not isinstance(frame, list) or len(frame) != JOINTS:
        found = f'{len(frame)} joints' if isinstance(frame, list) else f'a {type(frame).__name__}'
        raise RecordingError(f'frame {number}: has {found}; it must be a list of {JOINTS} joints')

    for place, joint in enumerate(frame, 1):
        is_joint = isinstance(joint, list) and len(joint) == DIMS
        if not is_joint or any(type(value) is not float for value in joint):
            raise RecordingError(f'frame {number}, joint {place}: is not a list of {DIMS} numbers')


def read_frame(content: bytes) -> np.ndarray | None:
    """Read the first person of a frame in the form of the authors.

    Returns:
        (20, 3) float32, or None if there is no person.

    Raises:
        RecordingError: if the file is damaged; the message names the line.
    """
    table = number_table(content.rstrip(), VALUES, separator=',')
    lines = len(table)
    for first in range(0, lines, PERSON_LINES):
        whole_number(table[first, 0], first + 1, "the number above a person's joints", 0, 10**9)
        if not np.isnan(table[first, 1:]).all():
            raise RecordingError(
                f'line {first + 1}: more than one value where the next person should begin'
            )

    if lines <= 1:
        return None
    if lines % PERSON_LINES:
        raise RecordingError(
            f'line {lines}: the file ends after {lines % PERSON_LINES - 1} of {JOINTS} joints of a '
            'person; it is truncated'
        )

    joints = table[1:PERSON_LINES]
    broken = np.flatnonzero(~fits_float32(joints))
    if len(broken):
        raise RecordingError(f'line {broken[0] + 2}: a joint needs {VALUES} finite numbers')
    return joints[:, :DIMS].astype(np.float32)


def read_folder(files: tuple[SourceFile, ...]) -> np.ndarray:
    """Read the frames with a skeleton of a sequence in the form of the authors, sorted by number.

    Returns:
        (T, 20, 3) float32.

    Raises:
        RecordingError: if a frame is damaged or duplicate, or none has a skeleton; the message
            names the frame.
    """
    frames: dict[int, np.ndarray | None] = {}
    for file in files:
        name = os.path.basename(file.name)
        match = _FRAME.match(name.removesuffix(_ENDING))
        if not match:
            raise RecordingError(f'{name}: is not named like frame_1_tc_1234{_ENDING}')
        number = int(match[1])
        if number in frames:
            raise RecordingError(
                f'has frame {number} twice; two recordings were put into this folder'
            )
        try:
            frames[number] = read_frame(file.read(MAX_FRAME))
        except RecordingError as error:
            raise RecordingError(f'{name}: {error}') from error

    found = [frames[number] for number in sorted(frames) if frames[number] is not None]
    if not found:
        raise RecordingError(f'has no skeleton in any of {len(frames)} frames')
    return np.stack(found)


class NWUCLA(Reader):
    """NW-UCLA: 1,494 recordings of 10 actions by 10 subjects from 3 views, 20 joints in meters.

    ``published`` counts the 1,484 sequences of the JSON form, on which published results rest.
    """

    name = 'nw_ucla'
    layout = 'kinect20'
    num_classes = len(ACTIONS)
    published = dict(xview_train=1020, xview_val=464)

    def recordings(self) -> list[SourceFile | FrameFolder]:
        """Return the JSON files, and the folders of sequences that are not available as JSON.

        Raises:
            ValueError: if there are neither.
        """
        found: list[SourceFile | FrameFolder] = [
            file for file in self.files if file.name.endswith('.json')
        ]
        known = {file.stem for file in found}

        for folder in self._folders():
            if folder.stem in known:
                self.leave_out('folders of sequences that are available as JSON', folder.stem)
            else:
                found.append(folder)

        if not found:
            raise ValueError(
                'the source holds neither JSON files like a01_s01_e00_v01.json nor frames like '
                f'view_1/a01_s01_e00/frame_1_tc_1234{_ENDING}; give the folder all_sqe (or '
                'all_sqe.zip) or the unpacked folder multiview_action'
            )
        return found

    def _folders(self) -> list[FrameFolder]:
        """Group the files of frames by folder."""
        folders: dict[str, list[SourceFile]] = {}
        for file in self.files:
            if file.name.endswith(_ENDING):
                path = os.path.dirname(str(file)).replace(os.sep, '/')
                folders.setdefault(path, []).append(file)
        return [FrameFolder(path, tuple(files)) for path, files in sorted(folders.items())]

    def read(self, recording: SourceFile | FrameFolder) -> list[dict]:
        """Read one sequence; action, subject and view are in its name."""
        example = 'a01_s01_e00_v01.json, or like the folder view_1/a01_s01_e00'
        numbers = match_name(recording.stem or '', _NAME, example).groups()
        action, subject, _, view = map(int, numbers)
        if action not in ACTIONS:
            raise RecordingError(f'has action {action} in its name; {self.name} has {ACTIONS}')
        if view not in VIEWS:
            raise RecordingError(f'has view {view} in its name; {self.name} has {VIEWS}')

        if isinstance(recording, FrameFolder):
            joints = read_folder(recording.files)
        else:
            joints = read_json(recording.read(MAX_JSON))
        fields = dict(label=ACTIONS.index(action), subject=subject, camera=view)
        return [make_annotation(recording.stem, joints[None], **fields)]

    def splits(self, annotation: dict) -> list[str]:
        """Return the cross-view split: the first two views train."""
        return ['xview_train' if annotation['camera'] in TRAIN_VIEWS else 'xview_val']
