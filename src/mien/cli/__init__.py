"""The command line: thin verbs that parse, call the library, print, and set the exit code.

Exit codes: 0 all went well, 1 an input or the work failed, 2 the command was not understood.
"""

from __future__ import annotations

import sys

import typer

from mien import __version__
from mien.cli import data, doctor, evaluate, explain, live, predict, report, serve, train
from mien.cli.console import complain
from mien.errors import MienError, reason

app = typer.Typer(
    name="mien",
    help="Read facial expressions in photos, films and live cameras; prepare data, train and evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        print(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("predict")(predict.predict)
app.command("live")(live.live)
app.command("serve")(serve.serve)
app.command("train")(train.train)
app.command("export")(train.export)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.add_typer(data.app, name="data")
app.command("fetch")(doctor.fetch)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point of the `mien` command: no traceback for a mistake that is the user's own."""
    try:
        app()
    except MienError as error:
        complain(str(error))
        sys.exit(1)
    except OSError as error:  # a path that the system refuses, wherever it was first touched
        if error.filename is None:
            raise
        named = str(error.filename)
        complain(f"cannot use {named if len(named) <= 200 else named[:200] + '...'}: {reason(error)}")
        sys.exit(1)
    except RuntimeError as error:  # as pathlib calls a circle of links before Python 3.13
        if not str(error).startswith("Symlink loop"):
            raise
        complain(f"cannot use a path: {str(error)[0].lower()}{str(error)[1:]}")
        sys.exit(1)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
