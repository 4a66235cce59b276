"""A trained encoder with its preprocessing as one graph, in a file that needs neither mmaction2 nor this package."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmaction.datasets.transforms import FormatGCNInput, PackActionInputs, PreNormalize2D
from mmcv.transforms import BaseTransform
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from aimclr_mm.models.data_preprocessor import SkeletonViews
from aimclr_mm.models.encoder import pool
from aimclr_mm.transforms import SkeletonTransform
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.version import __version__

from . import EmbeddingInferencer

FORMATS = ('.onnx', '.pt2')
TOLERANCE = (
    1e-4  # largest difference to the encoder, relative to the largest number of the embeddings
)
REPEATS = 9  # timed runs
NEEDED = 'onnx, onnxruntime and onnxscript'
Run = Callable[[np.ndarray], np.ndarray]


def tensor_step(step: BaseTransform) -> Callable[[Tensor], Tensor] | None:
    """A step of a data set's preprocessing as a function of skeletons (N, M, T, V, C); None if it changes no number.

    Raises:
        ValueError: for a step that has no such form.
    """
    if isinstance(step, SkeletonTransform) and not step.is_random:
        return step.batch
    if type(step) is PreNormalize2D:
        height, width = step.img_shape
        half = torch.tensor([width / 2, height / 2])
        return lambda x: torch.cat([(x[..., :2] - half) / half, x[..., 2:]], dim=-1)
    if type(step) is PackActionInputs or type(step) is FormatGCNInput and step.mode == 'zero':
        return None
    raise ValueError(
        f'the preprocessing of the config has {step!r}, which cannot be exported; known are '
        "CenterSkeleton, ResizeClip, AlignShoulders, PreNormalize2D and FormatGCNInput (mode='zero')"
    )


class ExportedEncoder(nn.Module):
    """Preprocessing, stream, backbone and pooling: what :meth:`EmbeddingInferencer.embed` does to one array.

    Args:
        encoder: the trained encoder; it is not changed.

    Attributes:
        shape: (M, V, C) that the graph takes.

    Raises:
        ValueError: if it is an encoder of several streams, or a step of its preprocessing cannot be exported.
    """

    def __init__(self, encoder: EmbeddingInferencer) -> None:
        super().__init__()
        model, steps = encoder.model, encoder.pipeline.transforms
        views = model.data_preprocessor
        if not isinstance(views, SkeletonViews):
            raise ValueError(
                f'the data preprocessor is a {type(views).__name__}; an encoder with SkeletonViews or '
                'LabelledViews can be exported'
            )
        if not isinstance(views.stream, str):
            raise ValueError(
                f'the encoder has the streams {", ".join(views.stream)}; name one of them with --stream'
            )
        people = [step.num_person for step in steps if isinstance(step, FormatGCNInput)]
        if not people:
            raise ValueError(
                'the preprocessing of the config has no FormatGCNInput, which tells the number of people'
            )
        self.steps = [function for step in steps if (function := tensor_step(step)) is not None]
        self.form_streams = views.form_streams
        part = getattr(model, 'encoder', model)
        self.backbone = copy.deepcopy(part.backbone).cpu().eval()
        if hasattr(self.backbone, 'fused'):
            self.backbone.fused = (
                False  # the fused way leaves absent people out: shapes that depend on the data
            )
        self.shape = (
            people[0],
            encoder.layout.num_joints,
            encoder.cfg.model.backbone.get('in_channels', 3),
        )

    def forward(self, keypoint: Tensor) -> Tensor:
        """Embeddings (N, C) of raw coordinates (N, M, T, V, C); a person who is zero throughout is absent."""
        absent = keypoint.flatten(2).eq(0).all(dim=2)[..., None, None, None]
        x = keypoint
        for step in self.steps:
            x = step(x)
        x = torch.where(
            absent, 0.0, x
        )  # also after PreNormalize2D, as FormatGCNInput fills up with zeros
        return pool(self.backbone(self.form_streams(x)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters print, warn of and log from the console; an error of theirs becomes one line."""
    said, level = io.StringIO(), logging.root.manager.disable
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        except RuntimeError as error:  # torch's own errors and those of its ONNX exporter
            reason = next(
                (line for line in str(error).splitlines() if line.startswith('<class')), str(error)
            )
            raise ValueError(f'this encoder cannot be exported: {reason[:300]}') from error
        finally:
            logging.disable(level)


def describe(
    encoder: EmbeddingInferencer, module: ExportedEncoder, checkpoint: str
) -> dict[str, str]:
    """What a user of the file must know, as text.

    Args:
        encoder: the trained encoder.
        module: the same, to be exported.
        checkpoint: name of its checkpoint.
    """
    people, joints, channels = module.shape
    return dict(
        layout=encoder.layout.name,
        joints=','.join(encoder.layout.joints),
        channels=str(channels),
        stream=encoder.model.data_preprocessor.stream,
        num_person=str(people),
        config=os.path.basename(str(encoder.cfg.filename)),
        checkpoint=os.path.basename(checkpoint),
        encoder=encoder.fingerprint,
        version=__version__,
    )


def trace(module: ExportedEncoder) -> ExportedProgram:
    """The graph by ``torch.export``, with N and T open."""
    people, joints, channels = module.shape
    example = torch.randn(2, people, 37, joints, channels)
    with torch.no_grad():
        return torch.export.export(
            module, (example,), dynamic_shapes={'keypoint': {0: Dim.DYNAMIC, 2: Dim.DYNAMIC}}
        )


def write_pt2(program: ExportedProgram, file: Any, metadata: dict[str, str]) -> Run:
    """Writes ``torch.export``'s format and reads it back; ``metadata.json`` lies in it."""
    torch.export.save(program, file, extra_files={'metadata.json': json.dumps(metadata)})
    file.flush()
    with open(file.name, 'rb') as written:
        loaded = torch.export.load(written).module()
    return lambda keypoint: loaded(torch.from_numpy(keypoint)).detach().numpy()


def require_onnx() -> None:
    """Raises ImportError if the packages for ONNX are missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"ONNX needs {NEEDED} ({error}); install them with pip install -e '.[export]', or write "
            'a .pt2 file'
        ) from error


def write_onnx(program: ExportedProgram, file: Any, metadata: dict[str, str]) -> Run:
    """Writes ONNX and reads it back with onnxruntime on the CPU."""
    import onnxruntime
    from onnxscript import opset18 as op

    def hypot(x, y):  # of AlignShoulders; ONNX has no such operator
        return op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))

    made = torch.onnx.export(
        program,
        input_names=['keypoint'],
        output_names=['embedding'],
        dynamo=True,
        verbose=False,
        custom_translation_table={torch.ops.aten.hypot.default: hypot},
    )
    made.model.metadata_props.update(metadata)
    file.write(made.model_proto.SerializeToString())
    file.flush()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(file.name, options, providers=['CPUExecutionProvider'])
    return lambda keypoint: session.run(['embedding'], {'keypoint': keypoint})[0]


WRITERS: dict[str, Callable[[ExportedProgram, Any, dict[str, str]], Run]] = {
    '.onnx': write_onnx,
    '.pt2': write_pt2,
}


class Comparison(NamedTuple):
    """A file beside the encoder on sequences of one shape."""

    shape: tuple[int, ...]  # of keypoint, (N, M, T, V, C)
    difference: float  # largest, relative to the largest number of the embeddings
    encoder_ms: float  # median time of embed() in milliseconds
    file_ms: float


def random_sequences(shape: tuple[int, ...], dims: int, seed: int) -> np.ndarray:
    """Movements (N, M, T, V, C) with gaps; in half of them only the first person is there.

    Args:
        shape: of the result.
        dims: 3, in metres; or 2, in pixels of a picture of 1920 x 1080, with scores if C is 3.
        seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    n, people, frames, joints, channels = shape
    x = (
        rng.normal(size=(n, people, 1, joints, channels))
        + rng.normal(size=shape).cumsum(axis=2) / 20
    )
    if dims == 2:
        x = x * 100 + 600
        x[..., 2:] = rng.random((*shape[:4], channels - 2))
    x[::2, 1:] = 0
    x[-1, 0, frames // 2 : frames - 1 : 3] = 0  # frames without the first person
    return x.astype(np.float32)


def median_ms(call: Callable[[Any], Any], argument: Any) -> float:
    """Median time of a call in milliseconds, after one that does not count."""
    call(argument)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def compare(
    encoder: EmbeddingInferencer, shape: tuple[int, int, int], run: Run
) -> Iterator[Comparison]:
    """Compares a file with the encoder on sequences of several N and T.

    Args:
        encoder: the trained encoder.
        shape: (M, V, C) of the file.
        run: the file.

    Raises:
        ValueError: if they differ by more than TOLERANCE.
    """
    people, joints, channels = shape
    for seed, (n, frames) in enumerate([(1, 1), (1, 20), (3, 50), (2, 137), (2, 333)]):
        keypoint = random_sequences(
            (n, people, frames, joints, channels), encoder.layout.dims, seed
        )
        there = [
            x[:1] if not x[1:].any() else x for x in keypoint
        ]  # the encoder gets those who are there
        expected, found = encoder.embed(there), run(keypoint)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise ValueError(
                f'for keypoint {keypoint.shape} the exported graph gives {found.shape} with '
                f'{np.isfinite(found).mean():.0%} finite numbers, the encoder {expected.shape}; no file '
                'is written'
            )
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not difference < TOLERANCE:
            raise ValueError(
                f'for keypoint {keypoint.shape} the exported graph differs from the encoder by '
                f'{difference:.1e}, more than {TOLERANCE:.0e}; no file is written'
            )
        yield Comparison(
            keypoint.shape, difference, median_ms(encoder.embed, there), median_ms(run, keypoint)
        )


def export(encoder: EmbeddingInferencer, path: str, checkpoint: str = '') -> list[Comparison]:
    """Writes an encoder with its preprocessing, after it was read back and compared with the encoder.

    The graph has one input, ``keypoint`` (N, M, T, V, C) float32, raw coordinates in the unit of the training data with
    N and T open, and one output, ``embedding`` (N, C) float32.

    Args:
        encoder: the trained encoder, on the CPU.
        path: ``.onnx`` for ONNX or ``.pt2`` for ``torch.export``.
        checkpoint: name of the checkpoint, for the file's metadata.

    Raises:
        ImportError: if packages for ONNX are missing.
        ValueError: if the encoder cannot be exported, or the file gives other embeddings; nothing is written then.
    """
    suffix = check_suffix(path)
    module = ExportedEncoder(encoder)
    metadata = describe(encoder, module, checkpoint)
    with atomic_write(path, 'wb') as file:
        with quiet():
            run = WRITERS[suffix](trace(module), file, metadata)
        return list(compare(encoder, module.shape, run))


def check_suffix(path: str) -> str:
    """The extension of a file to export to; raises ValueError for an unknown one, ImportError without its packages."""
    suffix = next((suffix for suffix in FORMATS if path.endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f'{path!r}: the extension must be {" or ".join(FORMATS)}')
    if suffix == '.onnx':
        require_onnx()
    return suffix
