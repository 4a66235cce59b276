"""Checkpoints of the released code (Levigty/AimCLR, and LinguoLi/CrosSCLR that it grew from) and ours, both ways.

A released file is a plain state dict. Pre-training: ``encoder_q.*``, ``encoder_k.*``, ``queue`` (D, K) and
``queue_ptr`` (1,); CrosSCLR has the same a second and third time, with ``_motion`` and ``_bone`` behind these names
and the joint stream without a suffix. Linear evaluation and finetuning: ``encoder_q.*`` with one Linear ``fc``.
Ours: ``encoder.*``, ``key_encoder.*``, ``memory_bank.keys`` (K, D) and ``memory_bank.pointer``; ``streams.<stream>.`` in front
where there are several; a classifier is mmaction2's ``RecognizerGCN``: ``backbone.*`` and ``cls_head.fc.*``.

CrosSCLR puts the joint head, as a whole, in the place of the last layer of the motion and bone heads: Linear, ReLU,
Linear, ReLU, Linear. Two linear layers, as our heads have, cannot compute that; such files are converted without
heads and queues only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

SUFFIXES = {
    'joint': '',
    'motion': '_motion',
    'bone': '_bone',
}  # of the released names, in their order
KERNEL = 9  # frames of a temporal convolution
SHOWN = 6  # problems that a message names


@dataclass(frozen=True)
class Content:
    """What a state dict is of, as far as its names tell.

    Args:
        ours: whether it is in our format, else in the released one.
        classifier: a classifier, else a pre-training.
        streams: ``joint`` alone for a single stream, whichever that is: the file does not tell.
        tied: streams whose head ends in the joint head.
    """

    ours: bool
    classifier: bool
    streams: tuple[str, ...]
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Sizes of the networks of a file; 0 for what it lacks."""

    joints: int = 0
    subsets: int = 0
    in_channels: int = 0
    base_channels: int = 0
    out_channels: int = 0
    hidden_channels: int = 0
    embedding: int = 0
    queue_length: int = 0
    classes: int = 0


@dataclass(frozen=True)
class Row:
    """A tensor of the released format and where it stands in ours; the adjacency stands in every block.

    Args:
        released: released name.
        ours: our names.
        shape: shape in a released file.
        ours_shape: shape in ours, where it differs.
        transposed: whether ours is the transpose.
    """

    released: str
    ours: tuple[str, ...]
    shape: tuple[int, ...]
    ours_shape: tuple[int, ...] | None = None
    transposed: bool = False

    def names(self, ours: bool) -> tuple[str, ...]:
        """Names in our format or in the released one."""
        return self.ours if ours else (self.released,)

    def shape_in(self, ours: bool) -> tuple[int, ...]:
        """Shape in our format or in the released one."""
        return self.ours_shape if ours and self.ours_shape is not None else self.shape

    def is_integer(self) -> bool:
        """Whether it counts something."""
        return self.ours[0].endswith(('.num_batches_tracked', 'memory_bank.pointer'))

    def convert(self, tensor: Tensor, to_ours: bool) -> Tensor:
        """A copy of the tensor in the shape of the other format."""
        tensor = tensor.t() if self.transposed else tensor
        return (
            tensor.detach()
            .reshape(self.shape_in(to_ours))
            .clone(memory_format=torch.contiguous_format)
        )


@dataclass(frozen=True)
class Conversion:
    """A state dict in the other format.

    Args:
        content, sizes: of the state dict that was converted.
        state: the result.
        left_out: names of tensors that it lacks because they were to be left out.
    """

    content: Content
    sizes: Sizes
    state: OrderedDict[str, Tensor]
    left_out: tuple[str, ...]


def recognise(state: dict[str, Tensor]) -> Content:
    """Tells from the names of a state dict what it is of.

    Raises:
        ValueError: if it is neither of the released code nor ours, or has several streams without joint.
    """
    inner = [re.sub(r'^streams\.\w+\.', '', name) for name in state]
    tied = ()
    ours = not starts(state, 'encoder_q')
    if ours:
        streams = tuple(stream for stream in SUFFIXES if starts(state, f'streams.{stream}.')) or (
            'joint',
        )
        classifier = starts(inner, ('backbone.', 'cls_head.'))
    else:
        streams = tuple(
            stream for stream, suffix in SUFFIXES.items() if starts(state, f'encoder_q{suffix}.')
        )
        tied = tuple(
            stream for stream in streams if starts(state, f'encoder_q{SUFFIXES[stream]}.fc.2.0.')
        )
        classifier = 'encoder_q.fc.weight' in state and not starts(state, ('encoder_k', 'queue'))
    if ours and not classifier and not starts(inner, 'encoder.'):
        raise ValueError(
            'it is no state dict of AimCLR, SkeletonCLR or CrosSCLR, neither in the released format '
            '(encoder_q...) nor in that of aimclr_mm (encoder..., streams..., backbone...); its names '
            f'begin with {", ".join(list(state)[:3]) or "nothing"}'
        )
    if 'joint' not in streams:
        raise ValueError(
            f'its streams are {", ".join(streams) or "unknown"}; the released format needs joint'
        )
    return Content(ours, classifier, streams, tied)


def starts(names: Iterable[str], prefix: str | tuple[str, ...]) -> bool:
    """Whether any of the names starts with the prefix."""
    return any(name.startswith(prefix) for name in names)


def parameters(released: str, ours: str, weight: tuple[int, ...]) -> list[Row]:
    """Weight and bias of a Linear or a convolution."""
    return [
        Row(f'{released}.weight', (f'{ours}.weight',), weight),
        Row(f'{released}.bias', (f'{ours}.bias',), weight[:1]),
    ]


def batch_norm(released: str, ours: str, width: int) -> list[Row]:
    """Parameters and statistics of a BatchNorm."""
    shapes = dict(
        weight=(width,),
        bias=(width,),
        running_mean=(width,),
        running_var=(width,),
        num_batches_tracked=(),
    )
    return [Row(f'{released}.{name}', (f'{ours}.{name}',), shape) for name, shape in shapes.items()]


def block_rows(index: int, width: int, out: int, subsets: int) -> list[Row]:
    """Block ``index`` of the ST-GCN, which leads from ``width`` channels to ``out``."""
    released, ours = f'st_gcn_networks.{index}', f'backbone.gcn.{index}'
    rows = [
        *parameters(f'{released}.gcn.conv', f'{ours}.gcn.conv', (subsets * out, width, 1, 1)),
        *batch_norm(f'{released}.tcn.0', f'{ours}.gcn.bn', out),
        *parameters(f'{released}.tcn.2', f'{ours}.tcn.conv', (out, out, KERNEL, 1)),
        *batch_norm(f'{released}.tcn.3', f'{ours}.tcn.bn', out),
    ]
    if (
        index and width != out
    ):  # the first block has no residual, the others one with weights or the identity
        rows += [
            *parameters(f'{released}.residual.0', f'{ours}.residual.conv', (out, width, 1, 1)),
            *batch_norm(f'{released}.residual.1', f'{ours}.residual.bn', out),
        ]
    return rows


def encoder_rows(sizes: Sizes, classifier: bool) -> list[Row]:
    """One encoder, or one classifier, in the order of the released code."""
    base, out = sizes.base_channels, sizes.out_channels
    widths = [sizes.in_channels, *[base] * 4, *[2 * base] * 3, *[4 * base] * 2, out]
    blocks = range(len(widths) - 1)
    adjacency = (sizes.subsets, sizes.joints, sizes.joints)
    if classifier:
        head = parameters('fc', 'cls_head.fc', (sizes.classes, out))
    else:
        head = [
            *parameters('fc.0', 'head.fc.0', (sizes.hidden_channels, out)),
            *parameters('fc.2', 'head.fc.2', (sizes.embedding, sizes.hidden_channels)),
        ]
    return [
        Row('A', tuple(f'backbone.gcn.{i}.gcn.A' for i in blocks), adjacency),
        *batch_norm('data_bn', 'backbone.data_bn', sizes.in_channels * sizes.joints),
        *(
            row
            for i, pair in enumerate(pairwise(widths))
            for row in block_rows(i, *pair, sizes.subsets)
        ),
        *head,
        *(Row(f'edge_importance.{i}', (f'backbone.gcn.{i}.gcn.PA',), adjacency) for i in blocks),
    ]


def table(content: Content, sizes: Sizes) -> list[Row]:
    """Every tensor of a file, in the order of the released code."""
    queues, encoders = [], []
    rows = encoder_rows(sizes, content.classifier)
    for stream in content.streams:
        suffix, prefix = SUFFIXES[stream], f'streams.{stream}.' if len(content.streams) > 1 else ''
        names = {'q': ''} if content.classifier else {'q': 'encoder.', 'k': 'key_encoder.'}
        for letter, ours in names.items():
            encoders += [
                replace(
                    row,
                    released=f'encoder_{letter}{suffix}.{row.released}',
                    ours=tuple(prefix + ours + name for name in row.ours),
                )
                for row in rows
            ]
        if not content.classifier:
            d, k = sizes.embedding, sizes.queue_length
            queues += [
                Row(
                    f'queue{suffix}',
                    (f'{prefix}memory_bank.keys',),
                    (d, k),
                    (k, d),
                    transposed=True,
                ),
                Row(f'queue_ptr{suffix}', (f'{prefix}memory_bank.pointer',), (1,), ()),
            ]
    return queues + encoders


def read_sizes(state: dict[str, Tensor], content: Content) -> Sizes:
    """Sizes from the joint stream's query encoder and queue; what cannot be read is 0, and then fits no tensor."""
    rows = {
        row.released: row for row in table(content, Sizes())
    }  # for the names; sizes do not matter

    def size(released: str, dimension: int) -> int:
        row = rows.get(released)
        tensor = state.get(row.names(content.ours)[0]) if row else None
        if not isinstance(tensor, Tensor) or tensor.ndim != len(row.shape):
            return 0
        return tensor.shape[
            tensor.ndim - 1 - dimension if row.transposed and content.ours else dimension
        ]

    joints = size('encoder_q.A', 1)
    return Sizes(
        joints=joints,
        subsets=size('encoder_q.A', 0),
        in_channels=size('encoder_q.data_bn.weight', 0) // max(joints, 1),
        base_channels=size('encoder_q.st_gcn_networks.0.tcn.0.weight', 0),
        out_channels=size('encoder_q.st_gcn_networks.9.tcn.0.weight', 0),
        hidden_channels=size('encoder_q.fc.0.weight', 0),
        embedding=size('encoder_q.fc.2.weight', 0),
        queue_length=size('queue', 1),
        classes=size('encoder_q.fc.weight', 0),
    )


def find_problems(state: dict[str, Tensor], rows: Iterable[Row], ours: bool) -> list[str]:
    """What is missing, unknown, of a wrong shape or kind in a state dict; the message of each."""
    wanted = {name: row for row in rows for name in row.names(ours)}
    problems = [f'{name} is missing' for name in wanted if name not in state]
    problems += [f'{name} is not known' for name in state if name not in wanted]
    for name, row in wanted.items():
        tensor, shape = state.get(name), row.shape_in(ours)
        if name not in state:
            continue
        if (
            not isinstance(tensor, Tensor)
            or tensor.layout != torch.strided
            or tensor.is_meta
            or tensor.is_quantized
        ):
            problems.append(f'{name} is no plain tensor')
        elif tuple(tensor.shape) != shape or 0 in shape:
            problems.append(
                f'{name} has shape {tuple(tensor.shape)}, which should be {shape} and not empty'
            )
        elif tensor.dtype != torch.int64 if row.is_integer() else not tensor.is_floating_point():
            problems.append(f'{name} has numbers of type {tensor.dtype}')
    return problems


def convert(state: dict[str, Tensor], backbone_only: bool = False) -> Conversion:
    """Converts a state dict of the released code to ours, or ours to that of the released code.

    Args:
        state: the state dict; ``module.`` of DataParallel in its names is ignored.
        backbone_only: leave out heads and queues of a released pre-training.

    Raises:
        ValueError: if not every tensor is known and has its place in the other format; the message names them.
    """
    plain = {str(name).replace('module.', ''): tensor for name, tensor in state.items()}
    content = recognise(plain)
    sizes = read_sizes(plain, content)
    rows = table(content, sizes)
    left_out = []
    if backbone_only:
        if content.ours or content.classifier:
            raise ValueError(
                '--backbone-only is for pre-trainings in the released format, which this is not'
            )
        rows = [row for row in rows if '.backbone.' in row.ours[0]]
        left_out = [
            name for name in plain if re.match(r'encoder_[qk](_motion|_bone)?\.fc\.|queue', name)
        ]
    elif content.tied:
        raise ValueError(
            f'the heads of {" and ".join(content.tied)} end in the joint head (three linear layers, '
            'while a head of aimclr_mm has two): as a whole the file cannot be converted. '
            '--backbone-only leaves out heads and queues, which no evaluation uses'
        )
    kept = {name: tensor for name, tensor in plain.items() if name not in left_out}
    problems = find_problems(kept, rows, content.ours)
    if len(plain) < len(state):
        problems.append('names that differ only by module. stand for several tensors')
    if not problems and content.ours:
        problems = [
            f'{name} differs from {row.ours[0]}, but the released format has one of both'
            for row in rows
            for name in row.ours[1:]
            if not torch.equal(plain[name], plain[row.ours[0]])
        ]
    if problems:
        raise ValueError(
            f'{len(problems)} of its tensors do not fit: '
            + '; '.join(problems[:SHOWN])
            + ('; ...' if len(problems) > SHOWN else '')
        )
    converted = OrderedDict(
        (name, row.convert(plain[row.names(content.ours)[0]], not content.ours))
        for row in rows
        for name in row.names(not content.ours)
    )
    return Conversion(content, sizes, converted, tuple(left_out))


def describe(content: Content, sizes: Sizes) -> list[str]:
    """What a file is of, in sentences, and what it does not tell."""
    streams = ', '.join(content.streams)
    if content.classifier:
        kind = 'classifier of each of several streams' if len(content.streams) > 1 else 'classifier'
    else:
        kind = 'pre-training of several streams' if len(content.streams) > 1 else 'pre-training'
    if content.tied:
        method = f'CrosSCLR: the heads of {" and ".join(content.tied)} end in the joint head'
    elif len(content.streams) > 1:
        method = 'not told by the file (CrosSCLR and AimCLR across streams have the same tensors)'
    else:
        streams = 'one, not told by the file which'
        method = 'not told by the file (AimCLR and SkeletonCLR have the same tensors)'
    values = {field.name: getattr(sizes, field.name) for field in fields(sizes)}
    return [
        f'format: {"aimclr_mm" if content.ours else "released"}, {kind}',
        f'streams: {streams}',
        f'method: {method}',
        'sizes: ' + ', '.join(f'{name} {value}' for name, value in values.items() if value),
    ]
