"""``airflow windsock …``: the ``windsock`` command with Airflow's configuration and connections.

Every ``airflow`` command imports this module to learn which commands there are, so it imports nothing of weight: the
nouns are a table, and the command itself is imported when it runs.
"""

from __future__ import annotations

import sys
from argparse import REMAINDER
from dataclasses import replace
from getpass import getuser
from typing import TYPE_CHECKING

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from ..provider.cli.main import COMMANDS

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow.cli.cli_config import CLICommand

    from ..provider.settings import Settings


def get_cli_commands() -> list[CLICommand]:
    """What the provider's ``cli`` key names."""
    return [
        GroupCommand(
            name="windsock",
            help="MLOps on Airflow: pipelines, artifacts, models, deployments, drift, lineage",
            description="The windsock command, with this installation's configuration and connections.",
            subcommands=[
                ActionCommand(
                    name=noun,
                    help=help_text,
                    func=run,
                    args=(Arg(("words",), nargs=REMAINDER, help=f"as in: windsock {noun} --help"),),
                )
                for noun, (_, _, help_text) in COMMANDS.items()
            ],
        )
    ]


def cli_settings(settings: Settings) -> Settings:
    """Who types a command is who Airflow's own audit log names: the user of the operating system."""
    from airflow.sdk.configuration import conf

    if conf.get("windsock", "actor", fallback=None):
        return settings
    try:
        return replace(settings, actor=getuser())
    except (OSError, KeyError):  # a container's user without a name
        return settings


def run(args: Namespace) -> None:
    """Hand the rest of the command line to ``windsock``, as it was typed."""
    from ..provider.cli.main import main
    from ..provider.cli.session import Session
    from .connections import AirflowCredentials
    from .settings import airflow_settings

    session = Session(given_settings=cli_settings(airflow_settings()), credentials=AirflowCredentials())
    sys.exit(main([args.subcommand, *args.words], session=session, prog_name="airflow windsock"))
