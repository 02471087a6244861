"""The ``windsock`` command: a table of nouns, each in a module of its own that is imported when it is asked for.

Exit codes: 0 fine, 1 error, 2 wrong usage, 3 drift found, 130 interrupted. An error of Windsock's own tree is one
paragraph on standard error; ``--debug`` (anywhere on the line) shows its traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import typer

    from .session import Session

COMMANDS = {
    "run": (".pipelines", "run_app", "Run a pipeline in this process, without a scheduler."),
    "dag": (".pipelines", "dag_app", "Show and check what a pipeline compiles to."),
    "stack": (".stacks", "app", "The components that everything runs on."),
    "artifact": (".artifacts", "app", "Versioned outputs of steps."),
    "dataset": (".datasets", "app", "Versioned tables."),
    "model": (".models", "app", "Model versions, aliases and promotion."),
    "deployment": (".deployments", "app", "Served models."),
    "drift": (".drift", "app", "Baselines, drift checks and reports."),
    "performance": (".performance", "app", "True values, and how good a deployed model was by them."),
    "metrics": (".metrics", "app", "Drift for Prometheus, with alert rules and a dashboard."),
    "lineage": (".lineage", "app", "Where something comes from and what became of it."),
    "runs": (".runs", "app", "Runs of pipelines and their steps."),
    "audit": (".audit", "app", "Who changed what, and whether anybody changed the record of it."),
    "db": (".db", "app", "The schema of the metadata database."),
    "serve": (".serve", "app", "Serve one model version in the foreground."),
    "demo": (".demo_command", "app", "The whole loop on a real Airflow: train, deploy, drift, retrain."),
    "doctor": (".doctor", "app", "What is installed, what works, and what to do about the rest."),
}
"""name -> module, the Typer app in it, one line of help. Their order is the help's order."""


def main(argv: Sequence[str] | None = None, *, session: Session | None = None, prog_name: str = "windsock") -> int:
    """Run one command line and return its exit code; never raises for an error, a usage mistake or Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args in (["--version"], ["-V"]):  # before Typer is imported: it is asked for in scripts and prompts
        from ... import __version__

        sys.stdout.write(f"windsock {__version__}\n")
        return 0
    debug = "--debug" in args or os.environ.get("WINDSOCK_DEBUG") == "1"
    args = [arg for arg in args if arg != "--debug"]
    return _guarded(lambda: _invoke(args, session, prog_name), debug=debug)


def _invoke(args: list[str], session: Session | None, prog_name: str) -> int:
    from .session import Session

    try:
        _group().main(args=args, prog_name=prog_name, obj=session or Session())
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _guarded(action: Callable[[], int], *, debug: bool) -> int:
    from ..errors import WindsockError

    try:
        return action()
    except KeyboardInterrupt:
        return 130
    except WindsockError as error:
        if debug:
            _traceback()
        _complain(error.message, error.hint, type(error).__name__)
    except Exception as error:  # noqa: BLE001  the outermost door: nothing above could handle it
        if debug:
            _traceback()
        text = f"{type(error).__name__}: {error}"
        _complain(text, None if debug else "This was not expected. Run it again with --debug to see where.", "Error")
    return 1


def _complain(message: str, hint: str | None, name: str) -> None:
    bold, plain = ("\x1b[1;31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    sys.stderr.write(f"{bold}{name}:{plain} {message}\n")
    if hint:
        sys.stderr.write(f"{hint}\n")


def _traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)


def _group() -> Any:
    """The root of the command tree. Built on demand, so that ``--version`` and an import of this module are free."""
    from importlib import import_module

    import typer
    from typer.core import TyperGroup

    from ..errors import did_you_mean

    class Nouns(TyperGroup):
        """Imports a noun's module when its command is asked for."""

        def list_commands(self, ctx: Any) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in COMMANDS:
                ctx.fail(f'There is no command "{cmd_name}". {did_you_mean(cmd_name, COMMANDS)}')
            module, attribute, help_text = COMMANDS[cmd_name]
            app = getattr(import_module(module, __package__), attribute)
            command = typer.main.get_command(app)
            command.name = cmd_name
            command.help = command.help or help_text
            command.short_help = help_text
            return command

    app = typer.Typer(
        cls=Nouns,
        name="windsock",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: bool = typer.Option(False, "--version", "-V", help="Show the version and exit."),
        debug: bool = typer.Option(False, "--debug", help="Show tracebacks; may stand anywhere on the line."),
    ) -> None:
        """Windsock: pipelines, artifacts, models, deployments, drift and lineage on Apache Airflow."""

    return typer.main.get_command(app)


def noun(help_text: str) -> typer.Typer:
    """A Typer app for one noun, with a command for each verb."""
    app = single()
    app.callback(help=help_text)(_no_options)
    return app


def single() -> typer.Typer:
    """A Typer app that is one command."""
    import typer

    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _no_options() -> None:
    """With a callback, Typer keeps the verb of an app that has only one."""


if __name__ == "__main__":
    sys.exit(main())
