"""The operator's side: `init`, `serve`, `invite`."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from backend import logs, operator
from backend.limits import INVITATION_LIFETIME_S
from backend.settings import Settings, SettingsError
from sealdesk_cli import output
from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.links import Invitation, format_link

PUBLIC_URL_FILE = "public-url"
"""In the data folder: what the server was last called, so that `invite` needs no options of `serve` again."""

_OPTIONS = {
    "data": "SEALDESK_DATA",
    "host": "SEALDESK_HOST",
    "port": "SEALDESK_PORT",
    "public_url": "SEALDESK_PUBLIC_URL",
}
_URL_VARIABLES = ("SEALDESK_HOST", "SEALDESK_PORT", "SEALDESK_PUBLIC_URL")


def init(options: Namespace) -> None:
    """`sealdesk init`."""
    with _operating():
        settings = Settings.from_environment(_environment(options))
        operator.init(settings)
    where = "in your PostgreSQL" if settings.database_url else f"in {settings.data_folder}"
    output.line(f"The database {where} is ready. Next: sealdesk serve, and in another terminal: sealdesk invite")


def serve(options: Namespace) -> None:
    """`sealdesk serve`."""
    with _operating():
        settings = Settings.from_environment(_environment(options))

        def on_ready() -> None:
            output.line(f"Serving {settings.url} from {settings.data_folder}; Ctrl-C stops it.")
            _remember_url(settings)

        operator.serve(settings, on_ready)


def invite(options: Namespace) -> None:
    """`sealdesk invite`."""
    with _operating():
        environment = _environment(options)
        settings = Settings.from_environment(environment)
        if settings.database_url is None and not settings.data_folder.exists():
            raise CommandError(
                f"there is no server in {settings.data_folder}: name its --data, or make one with `sealdesk init`"
            )
        url = settings.url if any(map(environment.get, _URL_VARIABLES)) else _remembered_url(settings)
        if urlsplit(url).hostname in ("0.0.0.0", "::"):  # noqa: S104  refused here, not listened on
            raise CommandError(f"no client can reach {url}: set SEALDESK_PUBLIC_URL to what clients call the server")
        link = format_link(Invitation(url, operator.invite(settings)))
    if options.json:
        output.record({"link": link, "server_url": url, "expires_at": int(time.time()) + INVITATION_LIFETIME_S})
        return
    output.line(link)
    output.note(
        f"It lets one account register, within {INVITATION_LIFETIME_S // 86_400} days: sealdesk register STORE LINK"
    )


@contextmanager
def _operating() -> Iterator[None]:
    logs.configure("WARNING")  # `serve` sets the level that it was given
    try:
        yield
    except SettingsError as error:
        raise CommandError(str(error), Exit.USAGE) from error
    except operator.OperatorError as error:
        raise CommandError(str(error)) from error


def _environment(options: Namespace) -> dict[str, str]:
    """The process's variables, with those that were given as options in their place."""
    given = {variable: getattr(options, name, None) for name, variable in _OPTIONS.items()}
    return {**os.environ, **{variable: value for variable, value in given.items() if value is not None}}


def _remember_url(settings: Settings) -> None:
    try:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        _url_file(settings).write_text(settings.url + "\n", "utf-8")
    except OSError as error:
        output.note(
            f"cannot write to {settings.data_folder} ({error.strerror}): `sealdesk invite` will need the options"
        )


def _remembered_url(settings: Settings) -> str:
    try:
        return _url_file(settings).read_text("utf-8").strip() or settings.url
    except FileNotFoundError:
        return settings.url


def _url_file(settings: Settings) -> Path:
    return settings.data_folder / PUBLIC_URL_FILE
