"""Generated files of NTU RGB+D and the coordinates in them."""

import numpy as np


def coordinates(body: int, frame: int) -> np.ndarray:
    """Return known coordinates (25, 3) of a body in a frame."""
    joint, axis = np.ogrid[:25, :3]
    return (body + joint / 100 + axis / 10 - 0.5) * (1 + frame) * (1 if body != 2 else 3)


def skeleton_file(frames: list[list[int]], end: str = '\r\n', blank: str = '') -> bytes:
    """Return a .skeleton file with the bodies of each frame in their order."""
    lines = [str(len(frames))]
    for frame, bodies in enumerate(frames):
        lines.append(str(len(bodies)))
        for body in bodies:
            lines += [f'7205759403792{body:04} 0 1 1 1 1 0 -0.05 0.24 2', '25']
            lines += [
                f'{x:.7f} {y:.6g} {z:.7E} 277.419 191.849 1036.2 519.1 -0.2 0.02 0.9 0.1 2'
                for x, y, z in coordinates(body, frame)
            ]
    return end.join([line + blank for line in lines] + ['']).encode()


def expected(frames: list[list[int]], people: int) -> np.ndarray:
    """Return (M, T, 25, 3): the n-th body of each frame, zeros where there is none."""
    keypoint = np.zeros((people, len(frames), 25, 3))
    for frame, bodies in enumerate(frames):
        for place, body in enumerate(bodies[:people]):
            keypoint[place, frame] = coordinates(body, frame)
    return keypoint
