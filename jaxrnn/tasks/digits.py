"""Handwritten digits, read pixel by pixel or row by row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._batches import at_the_end
from jaxrnn.tasks._items import frequency_loss, split_items
from jaxrnn.tasks.task import Source, Task

__all__ = ["digits"]

_STEPS = {"pixel": (64, 1), "row": (8, 8)}


@_checks.signature("tasks.digits")
def digits(*, by: str = "pixel", batch_size: int = 32) -> Task:
    """Read a small image as a sequence and say at the end which digit it is (many-to-one, E2).

    The 1797 images of 8 by 8 pixels ship with scikit-learn. Grey values 0..16 are divided by 16. About a
    tenth of the images is held out, drawn by hash; the same writers are in both parts.

    Parameters
    ----------
    by : ``"pixel"`` gives 64 steps of one grey value, row by row, as in "sequential MNIST"; ``"row"``
        gives 8 steps of 8.
    batch_size : B.

    Returns
    -------
    Task
        Batches with xs [B, 64, 1] or [B, 8, 8] and targets [B, T], the digit at every step, of which only
        the last weighs. Its baseline is the cross-entropy of the digits' frequencies.

    Raises
    ------
    ValueError
        If `by` is unknown or batch_size < 1.
    ImportError
        Without scikit-learn.

    Example
    -------
    >>> task = digits(by="row", batch_size=2)
    >>> batch = task.sample(jax.random.key(0))
    >>> batch.xs.shape, batch.weights[0]
    ((2, 8, 8), Array([0., 0., 0., 0., 0., 0., 0., 1.], dtype=float32))

    Reference
    ---------
    Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI repository, 1998; images as sequences
    of pixels: Le, Jaitly & Hinton, A simple way to initialize recurrent networks of rectified linear
    units, 2015.
    """
    _checks.choice("tasks.digits", "by", by, _STEPS)
    batch_size = _checks.at_least("tasks.digits", "batch_size", batch_size, 1)
    with _checks.installed("tasks.digits", "scikit-learn", "tasks"):
        from sklearn.datasets import load_digits
    data = load_digits()
    images, classes = data.images.astype(np.uint8), data.target.astype(np.int32)
    train, held_out = split_items("tasks.digits", [image.tobytes() for image in images])

    def sampler(rows):
        grey = jnp.asarray(images[rows].reshape(-1, *_STEPS[by]))
        target = jnp.asarray(classes[rows])

        def sample(key):
            row = jax.random.randint(key, (batch_size,), 0, len(rows))
            return at_the_end(grey[row].astype(float) / 16, target[row])

        return sample

    return Task(
        name="digits",
        input_size=_STEPS[by][1],
        output_size=10,
        sample=sampler(train),
        held_out=sampler(held_out),
        step_loss=softmax_cross_entropy,
        baseline=frequency_loss(classes[train], classes[held_out], 10),
        baseline_name="digit frequencies",
        loss_unit="nats",
        source=Source.of(
            "digits of scikit-learn", images.tobytes() + classes.tobytes(), len(images), "images of 8 x 8"
        ),
        reference="Alpaydin & Kaynak 1998; Le, Jaitly & Hinton 2015",
    )
