"""Extensions that tests install: their names and their modules' text."""

from __future__ import annotations

from pathlib import Path

FAULTS = Path(__file__).with_name("faults.py").read_text()

GOOD = """
import typer
from session_continuity import hookimpl

@hookimpl
def sc_cli_commands(app):
    @app.command()
    def shout(word: str):
        "Say it loudly."
        print(word.upper())

    group = typer.Typer()

    @group.command()
    def ping():
        print("pong")

    @group.command()
    def pong():
        raise ValueError("hush: secret-canary")

    @group.command()
    def chair():
        import no_such_module

    app.add_typer(group, name="table")
"""

RAISING = """
from session_continuity import hookimpl

@hookimpl
def sc_cli_commands(app):
    raise ValueError("out of paper")
"""

LEAVING = """
import sys
from session_continuity import hookimpl

@hookimpl
def sc_cli_commands(app):
    sys.exit(3)
"""

UNUSABLE = """
from session_continuity import hookimpl

@hookimpl
def sc_cli_commands(app):
    @app.command()
    def odd(value: list[list[int]]):
        pass
"""

TAKING = """
from session_continuity import hookimpl

@hookimpl
def sc_cli_commands(app):
    @app.command("demo")
    def mine():
        print("mine")
"""

BROKEN = "import no_such_module_anywhere"

MISSPELT = """
from session_continuity import hookimpl

@hookimpl
def sc_cli_comands(app):
    pass
"""
