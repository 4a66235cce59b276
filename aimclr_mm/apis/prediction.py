"""Classes of recordings, of the windows of long ones, and of streams of frames."""

from __future__ import annotations

import csv
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aimclr_mm.datasets.own_files.cleaning import Report
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.skeletons import Layout
from aimclr_mm.utils.files import atomic_write

from .classifier import ClassificationHead, EmbeddingClassifier
from .inferencer import EmbeddingInferencer
from .windows import Windows, merge, split_name

Classifier = EmbeddingClassifier | ClassificationHead
TOP = 5  # classes that files list for each prediction


class Prediction(NamedTuple):
    """Class probabilities of a recording, of a window or of a segment.

    Attributes:
        name: name of the recording.
        probabilities: (K,) of the classes of the classifier.
        classes: (K,) their names.
        start, end: seconds; None for a whole recording.
        label: known label; empty if unknown.
    """

    name: str
    probabilities: np.ndarray
    classes: np.ndarray
    start: float | None = None
    end: float | None = None
    label: str = ''

    def top(self, k: int = 1) -> list[tuple[str, float]]:
        """Return the k most probable classes with their probabilities."""
        best = np.argsort(-self.probabilities, kind='stable')[:k]
        return [(str(self.classes[i]), float(self.probabilities[i])) for i in best]

    @property
    def span(self) -> tuple[str, ...]:
        """Start and end as text; empty for a whole recording."""
        return () if self.start is None else (f'{self.start:.3f}', f'{self.end:.3f}')

    def as_dict(self, k: int = TOP) -> dict[str, Any]:
        """Return a dict for JSON, with the k most probable classes."""
        (predicted, probability), *_ = top = self.top(k)
        span = {} if self.start is None else dict(start=self.start, end=self.end)
        label = dict(label=self.label) if self.label else {}
        ranks = [dict(predicted=name, probability=value) for name, value in top]
        return dict(
            name=self.name, **span, predicted=predicted, probability=probability, **label, top=ranks
        )


def predict(embedded: EmbeddingSet, classifier: Classifier) -> list[Prediction]:
    """Return the prediction for each row of embeddings, recordings or windows of them."""
    probabilities = classifier.probabilities(embedded.features)
    predictions = []
    for name, label, row in zip(embedded.names, embedded.labels, probabilities):
        recording, start, end = split_name(str(name))
        predictions.append(Prediction(recording, row, classifier.classes, start, end, str(label)))
    return predictions


def merge_predictions(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Merge the windows of each recording to segments, see :func:`~.windows.merge`."""
    recordings: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        recordings.setdefault(prediction.name, []).append(prediction)

    segments = []
    for windows in recordings.values():
        starts, ends = ([getattr(w, side) for w in windows] for side in ('start', 'end'))
        scores = np.array([window.probabilities for window in windows])
        for start, end, mean in merge(starts, ends, scores):
            segments.append(windows[0]._replace(probabilities=mean, start=start, end=end))
    return segments


def write_predictions(predictions: Sequence[Prediction], path: str) -> None:
    """Write predictions with the five most probable classes as ``.json``, or as CSV."""
    if os.path.splitext(path)[1].lower() == '.json':
        with atomic_write(path) as file:
            json.dump([prediction.as_dict() for prediction in predictions], file, indent=2)
        return

    count = min(TOP, len(predictions[0].classes))
    ranks = [(f'predicted{rank}', f'probability{rank}') for rank in range(2, count + 1)]
    head = ['name', *_span_columns(predictions), 'predicted', 'probability', *sum(ranks, ())]
    rows = []
    for prediction in predictions:
        cells = [cell for name, value in prediction.top(count) for cell in (name, f'{value:.4f}')]
        rows.append([prediction.name, *prediction.span, *cells])
    write_csv(path, head, rows)


def write_probabilities(predictions: Sequence[Prediction], path: str) -> None:
    """Write the probability of each class as CSV, one line for each prediction."""
    head = ['name', *_span_columns(predictions), *map(str, predictions[0].classes)]
    rows = [[p.name, *p.span, *(f'{value:.4f}' for value in p.probabilities)] for p in predictions]
    write_csv(path, head, rows)


def _span_columns(predictions: Sequence[Prediction]) -> list[str]:
    return ['start', 'end'] if predictions[0].span else []


def write_csv(path: str, head: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table with a header as CSV."""
    with atomic_write(path) as file:
        csv.writer(file, lineterminator='\n').writerows([head, *rows])


def predict_stream(
    encoder: EmbeddingInferencer,
    classifier: Classifier,
    frames: Iterable[Any],
    windows: Windows,
    layout: str | Mapping | Layout | None = None,
) -> Iterator[Prediction]:
    """Yield the prediction for each window of a stream as soon as its last frame has come.

    When the stream ends between two windows, the last one ends with the stream, and a stream that
    is shorter than a window is one, as in :class:`Windows`.

    Args:
        encoder: trained encoder.
        classifier: classifier of its embeddings.
        frames: one array (V, C) or (M, V, C) per frame, where M may vary; None for a frame without
            a body. A window without a body has no prediction.
        windows: length and stride.
        layout: joint layout of the frames, see
            :meth:`~aimclr_mm.apis.EmbeddingInferencer.embed`.

    What was missing in the windows is logged when the stream ends.
    """
    report = Report(encoder.missing, 'windows')
    for start, window in _stream_windows(frames, windows):
        present = [frame for frame in window if frame.any()]
        if not present:
            continue

        joints, channels = present[0].shape[1:]
        sequence = np.zeros((max(map(len, present)), len(window), joints, channels))
        for place, frame in enumerate(window):
            if len(frame):
                sequence[: len(frame), place] = frame
        (row,) = classifier.probabilities(encoder.embed(sequence, layout=layout, report=report))
        end = start + len(window)
        span = start / windows.fps, end / windows.fps
        yield Prediction('stream', row, classifier.classes, *span)
    report.log()


def _stream_windows(
    frames: Iterable[Any], windows: Windows
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield the first frame and the frames, (M, V, C) each, of every window of a stream."""
    buffer: deque = deque(maxlen=windows.length)
    count, last = 0, -1  # frames so far, first frame of the last window
    for count, frame in enumerate(frames, 1):
        buffer.append(_people(frame, count))
        start = count - windows.length
        if start >= 0 and start % windows.step == 0:
            last = start
            yield start, list(buffer)

    start = count - len(buffer)
    if count and start != last:
        yield start, list(buffer)


def _people(frame: Any, number: int) -> np.ndarray:
    """Return a frame as (M, V, C), with no people for None."""
    if frame is None:
        return np.zeros((0, 0, 0))
    array = np.asarray(frame)
    if array.ndim not in (2, 3):
        raise ValueError(
            f'frame {number} of the stream has shape {array.shape}; it must be (joints, channels) '
            'or (people, joints, channels)'
        )
    return array if array.ndim == 3 else array[None]
