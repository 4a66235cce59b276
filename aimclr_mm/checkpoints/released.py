"""Conversion between released checkpoints (Levigty/AimCLR, LinguoLi/CrosSCLR) and ours.

A released file is a plain state dict. Pre-training: ``encoder_q.*``, ``encoder_k.*``, ``queue``
(D, K) and ``queue_ptr`` (1,). CrosSCLR, on which the released AimCLR is based, has these three
times: without a suffix for the joint stream, with ``_motion`` and with ``_bone``. Linear evaluation
and finetuning: ``encoder_q.*`` with one Linear layer ``fc``, which forks of the code write as a 1x1
convolution of the pooled features: its weight (classes, C, 1, 1) is converted to (classes, C).

Ours: ``encoder.*``, ``key_encoder.*``, ``memory_bank.keys`` (K, D) and ``memory_bank.pointer``,
with the prefix ``streams.<stream>.`` for several streams; a classifier is mmaction2's
``RecognizerGCN``, with ``backbone.*`` and ``cls_head.fc.*``.

CrosSCLR uses the whole joint head as the last layer of the motion and bone heads: Linear, ReLU,
Linear, ReLU, Linear. Our heads, with two linear layers, cannot represent that; such files are
converted without heads and memory banks only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

# suffixes of the released names, in their order
SUFFIXES = {'joint': '', 'motion': '_motion', 'bone': '_bone'}
KERNEL = 9  # frames of a temporal convolution
SHOWN = 6  # problems that a message names


@dataclass(frozen=True)
class Content:
    """Kind of a state dict, recognized by the names of its tensors.

    Args:
        ours: whether it is in our format, else in the released one.
        classifier: whether it is a classifier, else a pre-training.
        streams: its streams; ``joint`` for any single stream, as the file does not say which.
        tied: streams whose head ends in the joint head.
    """

    ours: bool
    classifier: bool
    streams: tuple[str, ...]
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Sizes of the networks in a file; 0 if the file lacks the tensor."""

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
    """A tensor in both formats.

    Ours has several copies of the adjacency, one per block; the released format has one.

    Args:
        released: name in the released format.
        ours: names in ours.
        shape: shape in the released format.
        ours_shape: shape in ours, if it differs.
        transposed: whether ours is the transpose.
    """

    released: str
    ours: tuple[str, ...]
    shape: tuple[int, ...]
    ours_shape: tuple[int, ...] | None = None
    transposed: bool = False

    def names(self, ours: bool) -> tuple[str, ...]:
        """Return the names in our format or in the released one."""
        return self.ours if ours else (self.released,)

    def shape_in(self, ours: bool) -> tuple[int, ...]:
        """Return the shape in our format or in the released one."""
        return self.ours_shape if ours and self.ours_shape is not None else self.shape

    def is_integer(self) -> bool:
        """Return whether the tensor holds integers."""
        return self.ours[0].endswith(('.num_batches_tracked', 'memory_bank.pointer'))

    def convert(self, tensor: Tensor, to_ours: bool) -> Tensor:
        """Return a copy of the tensor in the shape of the other format."""
        if self.transposed:
            tensor = tensor.t()
        tensor = tensor.detach().reshape(self.shape_in(to_ours))
        return tensor.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Conversion:
    """A state dict in the other format.

    Args:
        content, sizes: kind and sizes of the input.
        state: the converted state dict.
        left_out: names of tensors that were left out on request.
    """

    content: Content
    sizes: Sizes
    state: OrderedDict[str, Tensor]
    left_out: tuple[str, ...]


def recognize(state: dict[str, Tensor]) -> Content:
    """Return the kind of a state dict, from its names.

    Raises:
        ValueError: if it is in neither format, or has several streams without joint.
    """
    if is_released(state):
        content = _recognize_released(state)
    else:
        content = _recognize_ours(state)

    if 'joint' not in content.streams:
        streams = ', '.join(content.streams) or 'unknown'
        raise ValueError(f'its streams are {streams}; the released format needs joint')
    return content


def is_released(state: dict[str, Tensor]) -> bool:
    """Return whether the names are those of the released format."""
    return any_starts_with(state, ('encoder_q', 'module.encoder_q'))


def _recognize_released(state: dict[str, Tensor]) -> Content:
    suffixes = SUFFIXES.items()
    streams = tuple(
        name for name, suffix in suffixes if any_starts_with(state, f'encoder_q{suffix}.')
    )
    tied = tuple(
        name for name in streams if any_starts_with(state, f'encoder_q{SUFFIXES[name]}.fc.2.0.')
    )
    classifier = 'encoder_q.fc.weight' in state and not any_starts_with(
        state, ('encoder_k', 'queue')
    )
    return Content(False, classifier, streams, tied)


def _recognize_ours(state: dict[str, Tensor]) -> Content:
    streams = tuple(stream for stream in SUFFIXES if any_starts_with(state, f'streams.{stream}.'))
    inner = [re.sub(r'^streams\.\w+\.', '', name) for name in state]
    classifier = any_starts_with(inner, ('backbone.', 'cls_head.'))
    if not classifier and not any_starts_with(inner, 'encoder.'):
        raise ValueError(
            'it is not a state dict of AimCLR, SkeletonCLR or CrosSCLR, neither in the released '
            'format (encoder_q...) nor in that of aimclr_mm (encoder..., streams..., backbone...); '
            f'its names begin with {", ".join(list(state)[:3]) or "nothing"}'
        )
    return Content(True, classifier, streams or ('joint',))


def any_starts_with(names: Iterable[str], prefix: str | tuple[str, ...]) -> bool:
    """Return whether any of the names starts with the prefix."""
    return any(name.startswith(prefix) for name in names)


def parameter_rows(released: str, ours: str, weight: tuple[int, ...]) -> list[Row]:
    """Return the rows of weight and bias of a linear layer or a convolution."""
    return [
        Row(f'{released}.weight', (f'{ours}.weight',), weight),
        Row(f'{released}.bias', (f'{ours}.bias',), weight[:1]),
    ]


def batch_norm_rows(released: str, ours: str, width: int) -> list[Row]:
    """Return the rows of the parameters and statistics of a batch norm."""
    shapes = dict(
        weight=(width,),
        bias=(width,),
        running_mean=(width,),
        running_var=(width,),
        num_batches_tracked=(),
    )
    return [Row(f'{released}.{name}', (f'{ours}.{name}',), shape) for name, shape in shapes.items()]


def block_rows(index: int, width: int, out: int, subsets: int) -> list[Row]:
    """Return the rows of ST-GCN block ``index``, from ``width`` to ``out`` channels."""
    released, ours = f'st_gcn_networks.{index}', f'backbone.gcn.{index}'
    rows = [
        *parameter_rows(f'{released}.gcn.conv', f'{ours}.gcn.conv', (subsets * out, width, 1, 1)),
        *batch_norm_rows(f'{released}.tcn.0', f'{ours}.gcn.bn', out),
        *parameter_rows(f'{released}.tcn.2', f'{ours}.tcn.conv', (out, out, KERNEL, 1)),
        *batch_norm_rows(f'{released}.tcn.3', f'{ours}.tcn.bn', out),
    ]
    # the first block has no residual, the others a convolution or the identity
    if index and width != out:
        rows += [
            *parameter_rows(f'{released}.residual.0', f'{ours}.residual.conv', (out, width, 1, 1)),
            *batch_norm_rows(f'{released}.residual.1', f'{ours}.residual.bn', out),
        ]
    return rows


def encoder_rows(sizes: Sizes, classifier: bool) -> list[Row]:
    """Return the rows of an encoder or a classifier, in the order of the released code."""
    base, out = sizes.base_channels, sizes.out_channels
    widths = [sizes.in_channels, *[base] * 4, *[2 * base] * 3, *[4 * base] * 2, out]
    blocks = range(len(widths) - 1)
    adjacency = (sizes.subsets, sizes.joints, sizes.joints)
    if classifier:
        head = parameter_rows('fc', 'cls_head.fc', (sizes.classes, out))
    else:
        head = [
            *parameter_rows('fc.0', 'head.fc.0', (sizes.hidden_channels, out)),
            *parameter_rows('fc.2', 'head.fc.2', (sizes.embedding, sizes.hidden_channels)),
        ]
    return [
        Row('A', tuple(f'backbone.gcn.{i}.gcn.A' for i in blocks), adjacency),
        *batch_norm_rows('data_bn', 'backbone.data_bn', sizes.in_channels * sizes.joints),
        *(
            row
            for i, pair in enumerate(pairwise(widths))
            for row in block_rows(i, *pair, sizes.subsets)
        ),
        *head,
        *(Row(f'edge_importance.{i}', (f'backbone.gcn.{i}.gcn.PA',), adjacency) for i in blocks),
    ]


def all_rows(content: Content, sizes: Sizes) -> list[Row]:
    """Return the rows of all tensors of a file, in the order of the released code."""
    queues, encoders = [], []
    rows = encoder_rows(sizes, content.classifier)
    for stream in content.streams:
        suffix = SUFFIXES[stream]
        prefix = f'streams.{stream}.' if len(content.streams) > 1 else ''
        if content.classifier:
            encoders += _renamed(rows, f'encoder_q{suffix}.', prefix)
            continue

        encoders += _renamed(rows, f'encoder_q{suffix}.', f'{prefix}encoder.')
        encoders += _renamed(rows, f'encoder_k{suffix}.', f'{prefix}key_encoder.')
        d, k = sizes.embedding, sizes.queue_length
        queues += [
            Row(f'queue{suffix}', (f'{prefix}memory_bank.keys',), (d, k), (k, d), transposed=True),
            Row(f'queue_ptr{suffix}', (f'{prefix}memory_bank.pointer',), (1,), ()),
        ]
    return queues + encoders


def _renamed(rows: list[Row], released: str, ours: str) -> list[Row]:
    """Return the rows with prefixes before their names in both formats."""
    return [
        replace(row, released=released + row.released, ours=tuple(ours + name for name in row.ours))
        for row in rows
    ]


def read_sizes(state: dict[str, Tensor], content: Content) -> Sizes:
    """Return the sizes of the joint stream's query encoder and memory bank.

    A size that cannot be read is 0, which then fits no tensor.
    """
    rows = {row.released: row for row in all_rows(content, Sizes())}  # for the names

    def size(released: str, dimension: int) -> int:
        row = rows.get(released)
        tensor = state.get(row.names(content.ours)[0]) if row else None
        if not isinstance(tensor, Tensor) or tensor.ndim != len(row.shape):
            return 0
        if row.transposed and content.ours:
            dimension = tensor.ndim - 1 - dimension
        return tensor.shape[dimension]

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
    """Return a message for each tensor that is missing, unknown, or of a wrong shape or type."""
    wanted = {name: row for row in rows for name in row.names(ours)}
    problems = [f'{name} is missing' for name in wanted if name not in state]
    problems += [f'{name} is not known' for name in state if name not in wanted]
    for name, row in wanted.items():
        if name in state:
            problems += _tensor_problems(name, state[name], row, ours)
    return problems


def _tensor_problems(name: str, tensor: Any, row: Row, ours: bool) -> list[str]:
    plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided
    if not plain or tensor.is_meta or tensor.is_quantized:
        return [f'{name} is not a plain tensor']

    shape = row.shape_in(ours)
    if tuple(tensor.shape) != shape or 0 in shape:
        return [f'{name} has shape {tuple(tensor.shape)}, which should be {shape} and not empty']

    fits = tensor.dtype == torch.int64 if row.is_integer() else tensor.is_floating_point()
    return [] if fits else [f'{name} has numbers of type {tensor.dtype}']


def convert(state: dict[str, Tensor], backbone_only: bool = False) -> Conversion:
    """Convert a released state dict to ours, or ours to the released format.

    Args:
        state: the state dict; the prefix ``module.`` of DataParallel is ignored. A classifier that
            is a 1x1 convolution is converted to the linear layer that it is.
        backbone_only: leave out heads and memory banks of a released pre-training.

    Raises:
        ValueError: if not every tensor is known and fits the other format; the message names them.
    """
    plain = {str(name).replace('module.', ''): tensor for name, tensor in state.items()}
    content = recognize(plain)
    if content.classifier and not content.ours:
        plain = {name: _as_linear(name, tensor) for name, tensor in plain.items()}
    _check_heads(content, backbone_only)
    sizes = read_sizes(plain, content)

    rows, left_out = all_rows(content, sizes), []
    if backbone_only:
        rows = [row for row in rows if '.backbone.' in row.ours[0]]
        pattern = re.compile(r'encoder_[qk](_motion|_bone)?\.fc\.|queue')
        left_out = [name for name in plain if pattern.match(name)]

    kept = {name: tensor for name, tensor in plain.items() if name not in left_out}
    problems = find_problems(kept, rows, content.ours)
    if len(plain) < len(state):
        problems.append('names that differ only by module. refer to several tensors')
    if not problems and content.ours:
        problems = _differing_copies(plain, rows)
    if problems:
        rest = '; ...' if len(problems) > SHOWN else ''
        raise ValueError(
            f'{len(problems)} of its tensors do not fit: {"; ".join(problems[:SHOWN])}{rest}'
        )

    converted = OrderedDict()
    for row in rows:
        tensor = plain[row.names(content.ours)[0]]
        for name in row.names(not content.ours):
            converted[name] = row.convert(tensor, not content.ours)
    return Conversion(content, sizes, converted, tuple(left_out))


def _as_linear(name: str, tensor: Any) -> Any:
    """Return the weight (classes, C, 1, 1) of a classifier as (classes, C), others unchanged."""
    if not name.endswith('.fc.weight') or not isinstance(tensor, Tensor):
        return tensor
    return tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor


def _check_heads(content: Content, backbone_only: bool) -> None:
    """Raise ValueError if the heads, or leaving them out, do not fit the other format."""
    if backbone_only and (content.ours or content.classifier):
        raise ValueError(
            '--backbone-only is for pre-trainings in the released format, which this is not'
        )
    if content.tied and not backbone_only:
        raise ValueError(
            f'the heads of {" and ".join(content.tied)} end in the joint head (three linear '
            'layers, while a head of aimclr_mm has two): the whole file cannot be converted. '
            '--backbone-only leaves out heads and memory banks, which no evaluation uses'
        )


def _differing_copies(state: dict[str, Tensor], rows: Iterable[Row]) -> list[str]:
    """Return a message for each copy in ours of a tensor that differs from the first copy."""
    return [
        f'{name} differs from {row.ours[0]}, but the released format has a single one'
        for row in rows
        for name in row.ours[1:]
        if not torch.equal(state[name], state[row.ours[0]])
    ]


def describe(content: Content, sizes: Sizes) -> list[str]:
    """Return lines that describe a file, including what cannot be told from it."""
    several = len(content.streams) > 1
    kind = 'classifier' if content.classifier else 'pre-training'
    if several:
        kind += ' of each of several streams' if content.classifier else ' of several streams'
    streams = 'one, not told by the file which'
    if several or content.tied:
        streams = ', '.join(content.streams)

    method = 'not told by the file (AimCLR and SkeletonCLR have the same tensors)'
    if content.tied:
        method = f'CrosSCLR: the heads of {" and ".join(content.tied)} end in the joint head'
    elif several:
        method = 'not told by the file (CrosSCLR and AimCLR across streams have the same tensors)'

    values = {field.name: getattr(sizes, field.name) for field in fields(sizes)}
    return [
        f'format: {"aimclr_mm" if content.ours else "released"}, {kind}',
        f'streams: {streams}',
        f'method: {method}',
        'sizes: ' + ', '.join(f'{name} {value}' for name, value in values.items() if value),
    ]
