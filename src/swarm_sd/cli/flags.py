"""What several commands share: types of flags, reading the configuration, ending with a message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.config import Config

T = TypeVar("T")


class Parsed(click.ParamType[Any]):
    """A flag's value as one of our own types; its ValueError is the complaint."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; one that is no text is a default that needs no reading."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as err:
            self.fail(str(err), param, ctx)


DURATION = Parsed("duration", Duration.from_yaml)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
TIMEOUT = click.option(
    "--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for answers."
)


def reader(path: Path | None) -> Callable[[], Config]:
    """What reads the configuration: of the file, or of this machine's own Docker."""
    from swarm_sd import own_docker
    from swarm_sd.config import load

    return own_docker.read if path is None else lambda: load(path)


def read_or_end(read: Callable[[], T]) -> T:
    """What a configuration is read to; ends the program with its complaints and exit code 2."""
    from swarm_sd.config import ConfigError

    try:
        return read()
    except ConfigError as err:
        fail(2, str(err))


def load(path: Path) -> Config:
    """The configuration of a file; ends the program where it is refused."""
    return read_or_end(reader(path))


def fail(code: int, message: str) -> NoReturn:
    """Ends the program with a message on standard error."""
    click.echo(message, err=True)
    sys.exit(code)
