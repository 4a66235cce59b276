"""Export an encoder with its preprocessing as one graph: ONNX, or the format of torch.export.

The file runs without mmaction2 and without this package.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import statistics
import timeit
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
import torch
from mmaction.datasets.transforms import FormatGCNInput, PackActionInputs, PreNormalize2D
from mmcv.transforms import BaseTransform
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from aimclr_mm.datasets.own_files.cleaning import clean_batch
from aimclr_mm.models.data_preprocessor import SkeletonViews
from aimclr_mm.models.readouts import represent
from aimclr_mm.transforms import SkeletonTransform
from aimclr_mm.utils.files import atomic_write
from aimclr_mm.version import __version__

from .classifier import ClassificationHead, EmbeddingClassifier
from .inferencer import EmbeddingInferencer

# largest difference between file and encoder, relative to the largest value of the embeddings
TOLERANCE = 1e-4
REPEATS = 9  # timed runs
# sequences and frames on which a file is compared with the encoder
SIZES = ((1, 1), (1, 20), (3, 50), (2, 137), (2, 333))

# keypoint (N, M, T, V, C) -> embedding (N, C); with a classifier also probability (N, K)
Run = Callable[[np.ndarray], np.ndarray | Sequence[np.ndarray]]
Classifier = ClassificationHead | EmbeddingClassifier


# --- the graph ---


def tensor_step(step: BaseTransform) -> Callable[[Tensor], Tensor] | None:
    """Return a preprocessing step as a function of skeletons (N, M, T, V, C).

    Returns None for a step that does not change coordinates.

    Raises:
        ValueError: for a step that cannot be exported.
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
        'CenterSkeleton, ResizeClip, AlignShoulders, PreNormalize2D and FormatGCNInput '
        "(mode='zero')"
    )


class ExportedEncoder(nn.Module):
    """Preprocessing, stream, backbone and readout, as in :meth:`EmbeddingInferencer.embed`.

    Args:
        encoder: trained encoder; it is not changed.
        classifier: classifier of its embeddings, whose probabilities are a second output.

    Attributes:
        shape: (M, V, C) of the input.

    Raises:
        ValueError: if the encoder has several streams, or a preprocessing step cannot be exported.
    """

    def __init__(self, encoder: EmbeddingInferencer, classifier: Classifier | None = None) -> None:
        super().__init__()
        views = encoder.model.data_preprocessor
        if not isinstance(views, SkeletonViews):
            raise ValueError(
                f'the data preprocessor is a {type(views).__name__}; an encoder with SkeletonViews '
                'or LabeledViews can be exported'
            )
        if not isinstance(views.stream, str):
            raise ValueError(
                f'the encoder has the streams {", ".join(views.stream)}; choose one with --stream'
            )
        steps = encoder.pipeline.transforms
        people = [step.num_person for step in steps if isinstance(step, FormatGCNInput)]
        if not people:
            raise ValueError(
                'the preprocessing of the config has no FormatGCNInput, which defines the number '
                'of people'
            )

        self.steps = [function for step in steps if (function := tensor_step(step)) is not None]
        self.missing = encoder.missing
        self.dims = encoder.layout.dims
        self.form_streams = views.form_streams
        self.stream = views.stream
        self.readout = encoder.readout
        part = getattr(encoder.model, 'encoder', encoder.model)
        self.backbone = copy.deepcopy(part.backbone).cpu().eval()

        channels = encoder.cfg.model.backbone.get('in_channels', 3)
        self.shape = (people[0], encoder.layout.num_joints, channels)
        self.classifier = None if classifier is None else ClassifierGraph(classifier)

    def forward(self, keypoint: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return embeddings (N, C) of raw coordinates (N, M, T, V, C).

        With a classifier also probabilities (N, K).

        A person with zeros in all frames is absent. NaN and zeros are missing joints.
        """
        x = clean_batch(keypoint, self.dims, self.missing)
        absent = x.flatten(2).eq(0).all(dim=2)[..., None, None, None]  # (N, M, 1, 1, 1)
        for step in self.steps:
            x = step(x)
        # FormatGCNInput pads with zeros after PreNormalize2D
        x = torch.where(absent, 0.0, x)
        embedding = represent(self.backbone, self.form_streams(x), self.readout, self.stream)
        if self.classifier is None:
            return embedding
        return embedding, self.classifier(embedding)


class ClassifierGraph(nn.Module):
    """Probabilities (N, K) of a classifier of embeddings (N, C)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.is_unit = isinstance(classifier, EmbeddingClassifier)
        self.classes = [str(name) for name in classifier.classes]
        self.register_buffer('weight', torch.from_numpy(classifier.weight).float())
        self.register_buffer('bias', torch.from_numpy(classifier.bias).float())

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the probabilities of embeddings, as :meth:`EmbeddingClassifier.probabilities`."""
        if self.is_unit:
            embedding = embedding / embedding.norm(dim=1, keepdim=True)
        return (embedding @ self.weight.t() + self.bias).softmax(dim=1)


def trace(module: ExportedEncoder) -> ExportedProgram:
    """Trace the graph with ``torch.export``, with dynamic N and T."""
    people, joints, channels = module.shape
    example = torch.randn(2, people, 37, joints, channels)
    dynamic = {'keypoint': {0: Dim.DYNAMIC, 2: Dim.DYNAMIC}}
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=dynamic)


# --- files ---


def describe(
    encoder: EmbeddingInferencer, module: ExportedEncoder, checkpoint: str
) -> dict[str, str]:
    """Return the metadata of a file, as strings.

    Args:
        encoder: trained encoder.
        module: its graph.
        checkpoint: path of its checkpoint.
    """
    people, joints, channels = module.shape
    classifier = module.classifier
    classes = {} if classifier is None else dict(classes=json.dumps(classifier.classes))
    return dict(
        **classes,
        layout=encoder.layout.name,
        joints=','.join(encoder.layout.joints),
        channels=str(channels),
        stream=encoder.model.data_preprocessor.stream,
        num_person=str(people),
        readout=encoder.readout,
        missing=encoder.missing,
        config=os.path.basename(str(encoder.cfg.filename)),
        checkpoint=os.path.basename(checkpoint),
        encoder=encoder.fingerprint,
        version=__version__,
    )


def write_pt2(program: ExportedProgram, file: IO[bytes], metadata: dict[str, str]) -> Run:
    """Write the format of ``torch.export``, with ``metadata.json`` in it, and load it."""
    torch.export.save(program, file, extra_files={'metadata.json': json.dumps(metadata)})
    file.flush()
    with open(file.name, 'rb') as written:
        loaded = torch.export.load(written).module()

    def run(keypoint: np.ndarray) -> np.ndarray | list[np.ndarray]:
        found = loaded(torch.from_numpy(keypoint))
        if isinstance(found, Tensor):
            return found.detach().numpy()
        return [output.detach().numpy() for output in found]

    return run


def require_onnx() -> None:
    """Raise ImportError if a package for ONNX is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'ONNX needs onnx, onnxruntime and onnxscript ({error}); install them with '
            "pip install -e '.[export]', or write a .pt2 file"
        ) from error


def write_onnx(program: ExportedProgram, file: IO[bytes], metadata: dict[str, str]) -> Run:
    """Write ONNX and load it with onnxruntime on the CPU."""
    import onnxruntime
    from onnxscript import opset18 as op

    def hypot(x, y):  # of AlignShoulders; ONNX has no such operator
        return op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))

    exported = torch.onnx.export(
        program,
        input_names=['keypoint'],
        output_names=['embedding', 'probability'] if 'classes' in metadata else ['embedding'],
        dynamo=True,
        verbose=False,
        custom_translation_table={torch.ops.aten.hypot.default: hypot},
    )
    exported.model.metadata_props.update(metadata)
    file.write(exported.model_proto.SerializeToString())
    file.flush()

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(file.name, options, providers=['CPUExecutionProvider'])
    return lambda keypoint: session.run(None, {'keypoint': keypoint})


WRITERS: dict[str, Callable[[ExportedProgram, IO[bytes], dict[str, str]], Run]] = {
    '.onnx': write_onnx,
    '.pt2': write_pt2,
}


def check_suffix(path: str) -> str:
    """Return the extension of a file to export to.

    Raises:
        ValueError: if the extension is unknown.
        ImportError: if packages for ONNX are missing.
    """
    suffix = os.path.splitext(path)[1]
    if suffix not in WRITERS:
        raise ValueError(f'{path!r}: the extension must be {" or ".join(WRITERS)}')
    if suffix == '.onnx':
        require_onnx()
    return suffix


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress output, warnings and log messages of exporters; shorten their errors to one line."""
    output = io.StringIO()
    level = logging.root.manager.disable
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        except RuntimeError as error:  # of torch and its ONNX exporter
            lines = str(error).splitlines()
            reason = next((line for line in lines if line.startswith('<class')), str(error))
            raise ValueError(f'this encoder cannot be exported: {reason[:300]}') from error
        finally:
            logging.disable(level)


# --- comparison with the encoder ---


class Comparison(NamedTuple):
    """Difference and time of a file and the encoder on sequences of one shape."""

    shape: tuple[int, ...]  # of keypoint, (N, M, T, V, C)
    difference: float  # largest, relative to the largest value of the embeddings
    encoder_ms: float  # median time of embed() in milliseconds
    file_ms: float


def random_sequences(shape: tuple[int, ...], dims: int, seed: int) -> np.ndarray:
    """Return random movements with gaps; in half of them only the first person is present.

    Args:
        shape: (N, M, T, V, C).
        dims: 3 for coordinates in meters; 2 for pixels of a 1920 x 1080 image, with scores if C
            is 3.
        seed: seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    n, people, frames, joints, channels = shape
    pose = rng.normal(size=(n, people, 1, joints, channels))
    x = pose + rng.normal(size=shape).cumsum(axis=2) / 20
    if dims == 2:
        x = x * 100 + 600
        x[..., 2:] = rng.random((*shape[:4], channels - 2))

    x[::2, 1:] = 0
    x[-1, 0, frames // 2 : frames - 1 : 3] = 0  # frames without the first person
    if frames > 40:
        x[0, :, :3] = x[0, :, -2:] = 0  # nobody at the ends, in short gaps and in a long one
        x[0, :, 5:7] = x[0, :, 10:30] = 0
        x[0, 0, 30::3, -1] = 0  # a missing joint
    return x.astype(np.float32)


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of a call in milliseconds, after a warm-up."""
    call()
    return 1000 * statistics.median(timeit.repeat(call, number=1, repeat=REPEATS))


def largest_difference(found: np.ndarray, expected: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the largest difference relative to the largest value.

    Args:
        found, expected: embeddings of the file and of the encoder.
        shape: shape of the input, for messages.

    Raises:
        ValueError: if shapes differ, values are not finite, or the difference exceeds TOLERANCE.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise ValueError(
            f'for keypoint {shape} the exported graph gives {found.shape} with '
            f'{np.isfinite(found).mean():.0%} finite numbers, the encoder {expected.shape}; no '
            'file is written'
        )
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference < TOLERANCE:
        raise ValueError(
            f'for keypoint {shape} the exported graph differs from the encoder by '
            f'{difference:.1e}, more than {TOLERANCE:.0e}; no file is written'
        )
    return difference


def compare(
    encoder: EmbeddingInferencer,
    shape: tuple[int, int, int],
    run: Run,
    classifier: Classifier | None = None,
) -> Iterator[Comparison]:
    """Compare a file with the encoder, and the classifier, on sequences of several N and T.

    Args:
        encoder: trained encoder.
        shape: (M, V, C) of the file.
        run: the loaded file.
        classifier: classifier of the file, if it has one.

    Raises:
        ValueError: if they differ by more than TOLERANCE.
    """
    people, joints, channels = shape
    for seed, (n, frames) in enumerate(SIZES):
        keypoint = random_sequences(
            (n, people, frames, joints, channels), encoder.layout.dims, seed
        )
        present = [x[:1] if not x[1:].any() else x for x in keypoint]  # without absent people
        expected = [encoder.embed(present)]
        if classifier is not None:
            expected.append(classifier.probabilities(expected[0]))
        found = run(keypoint)
        outputs = found if isinstance(found, (list, tuple)) else [found]
        difference = max(
            largest_difference(output, wanted, keypoint.shape)
            for output, wanted in zip(outputs, expected, strict=True)
        )
        yield Comparison(
            keypoint.shape,
            difference,
            median_ms(lambda present=present: encoder.embed(present)),
            median_ms(lambda keypoint=keypoint: run(keypoint)),
        )


def export(
    encoder: EmbeddingInferencer,
    path: str,
    checkpoint: str = '',
    classifier: Classifier | None = None,
) -> list[Comparison]:
    """Write an encoder with its preprocessing, if the written file agrees with the encoder.

    The graph has one input, ``keypoint`` (N, M, T, V, C) float32, raw coordinates in the unit of
    the training data with dynamic N and T, and one output, ``embedding`` (N, C) float32; with a
    classifier a second one, ``probability`` (N, K) float32.

    Args:
        encoder: trained encoder on the CPU.
        path: ``.onnx`` for ONNX or ``.pt2`` for ``torch.export``.
        checkpoint: path of the checkpoint, for the metadata.
        classifier: classifier of the embeddings to write too.

    Raises:
        ImportError: if packages for ONNX are missing.
        ValueError: if the encoder cannot be exported, or the file gives other embeddings; nothing
            is written then.
    """
    suffix = check_suffix(path)
    module = ExportedEncoder(encoder, classifier)
    metadata = describe(encoder, module, checkpoint)
    with atomic_write(path, 'wb') as file:
        with quiet():
            run = WRITERS[suffix](trace(module), file, metadata)
        return list(compare(encoder, module.shape, run, classifier))
