"""A text read from disk: every byte once, in order, each sequence going on in the next batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import cells, gradients, training
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks import text_stream


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    rng = np.random.default_rng(0)
    path.write_bytes(bytes(rng.choice(np.frombuffer(b"abcXYZ .\n\xff", np.uint8), 503)))
    return path


def symbols(path):
    """Letters by a Python loop."""
    return [
        ord(c.lower()) - 96 if c.isascii() and c.isalpha() else 0 for c in path.read_bytes().decode("latin1")
    ]


@pytest.mark.parametrize(("batch_size", "length"), [(1, 1), (3, 7), (1, 502), (502, 1)])
def test_batches_put_together_are_the_text(text, batch_size, length):
    stream = text_stream(text, length=length, batch_size=batch_size)
    lane = 502 // batch_size
    assert len(stream) == lane // length and stream.input_size == 27
    batches = [stream[i] for i in range(len(stream))]
    inputs = np.concatenate([batch.xs.argmax(-1) for batch in batches], axis=1)
    targets = np.concatenate([batch.targets for batch in batches], axis=1)
    for b in range(batch_size):
        expected = symbols(text)[b * lane : b * lane + len(stream) * length + 1]
        assert inputs[b].tolist() == expected[:-1] and targets[b].tolist() == expected[1:]
    assert all((batch.xs.sum(-1) == 1).all() for batch in batches)


def test_bytes_are_symbols_of_their_own(text):
    batch = text_stream(text, length=100, batch_size=2, alphabet="bytes")[0]
    assert batch.xs.shape == (2, 100, 256)
    assert bytes(batch.xs[0].argmax(-1).astype(np.uint8)) == text.read_bytes()[:100]


def test_symbols_are_given_as_numbers_where_they_are_asked_for(text):
    options = {"length": 20, "batch_size": 3}
    numbers, rows = text_stream(text, one_hot=False, **options)[2], text_stream(text, **options)[2]
    np.testing.assert_array_equal(numbers.xs, rows.xs.argmax(-1))
    np.testing.assert_array_equal(numbers.targets, rows.targets)


def test_it_is_a_sequence(text):
    stream = text_stream(text, length=10, batch_size=4)
    assert len(list(stream)) == len(stream) == 12
    np.testing.assert_array_equal(stream[-1].targets, stream[11].targets)
    for i in (12, -13):
        with pytest.raises(IndexError):
            stream[i]


def test_a_network_is_trained_on_it_with_its_state_carried(text):
    stream = text_stream(text, length=10, batch_size=4)
    cell = cells.stack(cells.elman(27, 3), cells.dense(3, 27))
    params = cell.init(jax.random.key(0))
    result = training.train(
        cell, gradients.full(cell.step, stream.step_loss), optax.sgd(0.0), stream,
        steps=None, stream=True, params=params, key=jax.random.key(0), progress=False,
    )  # fmt: skip
    assert result.history.loss.shape == (1, 12)
    losses, h = [], [cell.init_state(params)] * 4
    for b in range(4):
        whole = text_stream(text, length=120, batch_size=4)[0]
        rows = []
        for x, target in zip(whole.xs[b], whole.targets[b], strict=True):
            h[b], y = STEP(cell, params, h[b], x)
            rows.append(softmax_cross_entropy(params, y, jnp.asarray(target)))
        losses.append(np.reshape(rows, (12, 10)).mean(1))
    np.testing.assert_allclose(result.history.loss[0], np.mean(losses, axis=0), rtol=1e-12)


STEP = jax.jit(lambda cell, *arguments: cell.step(*arguments), static_argnums=0)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"length": 0}, "length is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"alphabet": "all"}, "alphabet is 'all'; expected one of 'bytes', 'letters'"),
        ({"length": 503}, "text has 503 bytes; expected at least 504 for 1 sequences of 503 steps"),
        ({"batch_size": 503, "length": 1}, "expected at least 504"),
    ],
)
def test_what_cannot_be_cut_is_refused(text, options, match):
    with pytest.raises(ValueError, match=f"tasks.text_stream: .*{match}"):
        text_stream(text, **{"batch_size": 1} | options)


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        text_stream(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty has 0 bytes"):
        text_stream(tmp_path / "empty")
