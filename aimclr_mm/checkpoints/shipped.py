"""The encoders that come with the package, by name.

They were trained on generated movements (docs/encoders.md is their model card). A name stands
wherever a config or a checkpoint is asked for.
"""

from __future__ import annotations

import os
from typing import NamedTuple

FOLDER = os.path.join(os.path.dirname(__file__), 'generated')


class ShippedEncoder(NamedTuple):
    """Files of an encoder in :data:`FOLDER`.

    Attributes:
        config: model and preprocessing.
        weights: checkpoint of one stream or of several.
        text: what the encoder is for.
    """

    config: str
    weights: str
    text: str


SHIPPED = {
    'generated-joint': ShippedEncoder('joint.py', 'ntu25.pth', '3-D skeletons, joint stream'),
    'generated-bone': ShippedEncoder('bone.py', 'ntu25.pth', '3-D skeletons, bone stream'),
    'generated-motion': ShippedEncoder('motion.py', 'ntu25.pth', '3-D skeletons, motion stream'),
    'generated-3s': ShippedEncoder('streams.py', 'ntu25.pth', '3-D skeletons, all three streams'),
    'generated-coco17': ShippedEncoder('coco17.py', 'coco17.pth', '2-D poses, joint stream'),
}


def shipped_config(name: str) -> str:
    """Return the path of the config of a shipped encoder, or any other path as it is."""
    return os.path.join(FOLDER, SHIPPED[name].config) if name in SHIPPED else name


def shipped_weights(name: str) -> str:
    """Return the path of the weights of a shipped encoder, or any other path as it is."""
    return os.path.join(FOLDER, SHIPPED[name].weights) if name in SHIPPED else name
