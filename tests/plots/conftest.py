"""Axes that no pyplot window knows, drawn at the end of every test so that nothing warns."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    open_before = plt.get_fignums()
    figure = Figure(layout="constrained")
    yield figure.subplots()
    figure.draw_without_rendering()
    assert plt.get_fignums() == open_before
