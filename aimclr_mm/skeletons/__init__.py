"""Joint layouts: the only table of joints, bones, left/right pairs, center and shoulders."""

from .layouts import COCO17, KINECT20, LAYOUTS, NTU25, Layout, LayoutLike, get_layout
from .mapping import map_layout, mapped_dims

__all__ = [
    'COCO17',
    'KINECT20',
    'LAYOUTS',
    'NTU25',
    'Layout',
    'LayoutLike',
    'get_layout',
    'map_layout',
    'mapped_dims',
]
