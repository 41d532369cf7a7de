"""From numbers to a verdict, and truncated against full BPTT."""

from jaxrnn.diagnosis.compare import Comparison, compare
from jaxrnn.diagnosis.diagnose import Diagnosis, Saturation, diagnose
from jaxrnn.diagnosis.verdict import Verdict

__all__ = ["Comparison", "Diagnosis", "Saturation", "Verdict", "compare", "diagnose"]
