"""The encoders that come with the package, by name.

They were trained on generated movements; docs/encoders.md is their model card. A name stands for
config and checkpoint in the verbs of ``tools/embed.py`` and the like, and for a checkpoint
elsewhere.
"""

from __future__ import annotations

import os
from typing import NamedTuple

FOLDER = os.path.join(os.path.dirname(__file__), 'generated')
CHECKSUMS = {  # SHA-256 of the weights
    'coco17.pth': '491d888c4eb8de908061736d77247a246e6c9a8dcca551f344ac7e78d6751ca1',
    'ntu25.pth': '7c5708a2fb48f3aa63ad76e051a799bff40979b75ac5ae14ea7c24f705577975',
}


class ShippedEncoder(NamedTuple):
    """Files of an encoder in :data:`FOLDER`.

    Attributes:
        config: model and preprocessing.
        weights: checkpoint, of one stream or of several.
    """

    config: str
    weights: str


SHIPPED = {
    'generated-joint': ShippedEncoder('joint.py', 'ntu25.pth'),
    'generated-bone': ShippedEncoder('bone.py', 'ntu25.pth'),
    'generated-motion': ShippedEncoder('motion.py', 'ntu25.pth'),
    'generated-3s': ShippedEncoder('streams.py', 'ntu25.pth'),
    'generated-coco17': ShippedEncoder('coco17.py', 'coco17.pth'),
}


def shipped_config(name: str) -> str:
    """Return the path of the config of a shipped encoder, or any other path as it is."""
    return os.path.join(FOLDER, SHIPPED[name].config) if name in SHIPPED else name


def shipped_weights(name: str) -> str:
    """Return the path of the weights of a shipped encoder, or any other path as it is."""
    return os.path.join(FOLDER, SHIPPED[name].weights) if name in SHIPPED else name
