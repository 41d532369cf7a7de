"""Reports: networks trained and measured, as HTML, PNG, CSV and .npz."""

from jaxrnn.report.build import build
from jaxrnn.report.study import CELLS, Settings, Study, study

__all__ = ["CELLS", "Settings", "Study", "build", "study"]
