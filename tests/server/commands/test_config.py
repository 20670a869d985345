"""``upbeat config`` as a part of the whole command line."""

from __future__ import annotations

import json

import typer
from typer.testing import CliRunner

from upbeat.cli.options import CommonOptions, Format
from upbeat_server.commands import config


def test_config_show_takes_the_form_that_was_given_ahead_of_its_name() -> None:
    app = typer.Typer()
    config.register(app)

    @app.callback()
    def root(context: typer.Context) -> None:
        context.obj = CommonOptions(output=Format.JSON)

    done = CliRunner().invoke(app, ["config", "show"])
    assert done.exit_code == 0
    assert "store.address" in {entry["key"] for entry in json.loads(done.stdout)}
