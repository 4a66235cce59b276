"""Joint layouts: the only table of joints, bones, left/right pairs, center and shoulders."""

from .layouts import (
    AZURE32,
    COCO17,
    HALPE26,
    HANDS21,
    HANDS21_2D,
    KINECT20,
    LAYOUTS,
    MEDIAPIPE33,
    MEDIAPIPE33_2D,
    MOCAP21,
    NTU25,
    OPENNI15,
    OPENPOSE18,
    OPENPOSE25,
    Layout,
    LayoutLike,
    get_layout,
)
from .mapping import map_layout, mapped_dims

__all__ = [
    'AZURE32',
    'COCO17',
    'HALPE26',
    'HANDS21',
    'HANDS21_2D',
    'KINECT20',
    'LAYOUTS',
    'MEDIAPIPE33',
    'MEDIAPIPE33_2D',
    'MOCAP21',
    'NTU25',
    'OPENNI15',
    'OPENPOSE18',
    'OPENPOSE25',
    'Layout',
    'LayoutLike',
    'get_layout',
    'map_layout',
    'mapped_dims',
]
