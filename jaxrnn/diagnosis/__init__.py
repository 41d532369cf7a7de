"""From numbers to a verdict, and truncated against full BPTT."""

from jaxrnn.diagnosis.compare import Comparison, compare
from jaxrnn.diagnosis.diagnose import Diagnosis, Saturation, diagnose
from jaxrnn.diagnosis.stream import StreamCarry, StreamGrowthRates, stream_growth_rates
from jaxrnn.diagnosis.verdict import Verdict
from jaxrnn.diagnosis.window import WindowAdvice, suggest_window

__all__ = [
    "Comparison",
    "Diagnosis",
    "Saturation",
    "StreamCarry",
    "StreamGrowthRates",
    "Verdict",
    "WindowAdvice",
    "compare",
    "diagnose",
    "stream_growth_rates",
    "suggest_window",
]
