"""``jaxrnn env`` says what a report of a problem needs."""

import platform

import jax
import numpy as np

from jaxrnn.cli import main


def test_versions_devices_and_settings_are_printed(capsys):
    assert main(["env"]) == 0
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "precision" not in line
    )
    assert rows["Python"].startswith(platform.python_version())
    assert (rows["jax"], rows["numpy"]) == (jax.__version__, np.__version__)
    assert rows["devices"] == ", ".join(map(str, jax.devices()))
    assert "torch" not in rows or rows["torch"][0].isdigit()


def test_precision_follows_the_setting(capsys):
    for on in (True, False):
        with jax.enable_x64(on):
            main(["env"])
        assert f"double precision     {'on' if on else 'off'}" in capsys.readouterr().out
