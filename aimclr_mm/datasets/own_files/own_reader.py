"""Base class of the readers of own recordings: folders and manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aimclr_mm.datasets.readers.base import Reader
from aimclr_mm.skeletons import Layout, get_layout
from aimclr_mm.utils.arguments import check_choice

from .cleaning import MISSING, clean
from .conventions import to_meters
from .fields import Recording, zero_missing


class OwnReader(Reader):
    """Reader of sequences of any layout, in any unit, with frames without a body.

    Args:
        files: what is read, see :class:`~aimclr_mm.datasets.readers.base.Reader`.
        layout: joint layout of all sequences: a name in the table, a mapping with the fields of a
            layout, or the path of a YAML file with them. The annotation file stores the name or the
            fields, not the path.
        missing: what to do with frames without a body and with missing joints, see
            :mod:`.cleaning`.
        unit: unit of 3-D coordinates, which become meters, see :mod:`.conventions`.

    Raises:
        FileNotFoundError, ValueError: if the layout is not valid, see
            :func:`aimclr_mm.skeletons.get_layout`, or ``missing`` is unknown.
    """

    def __init__(
        self,
        files: Sequence[Recording],
        layout: str | Mapping | Layout = 'ntu25',
        missing: str = MISSING[0],
        unit: str | None = None,
    ) -> None:
        super().__init__(files)
        self._joints = get_layout(layout)
        self.layout = self._joints.to_config()
        check_choice('missing', missing, MISSING)
        self.missing, self.unit = missing, unit

    def finish(self, annotation: dict) -> dict:
        """Return a sequence in meters and clean; ``cleaned`` is what was missing in it.

        Args:
            annotation: with ``keypoint``, NaN for missing values; see :class:`.cleaning.Found` for
                the fields of ``cleaned``.
        """
        annotation = to_meters(zero_missing(annotation), self._joints, self.unit)
        cleaned, found = clean(annotation, self._joints, self.missing)
        return dict(cleaned, cleaned=found.as_dict())
