"""A downloader for pooch that resumes an interrupted download."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from flipbench.errors import UserError

CHUNK = 2**16
TIMEOUT = (10, 60)
"""Seconds to connect, and between two arrivals of data."""


class Resuming:
    """Downloads into a ``.part`` file that outlives a failure, and asks a server only for what is missing.

    A server that ignores the range sends the whole file, which then replaces the part.

    Args:
        part: the partial file.
        remedy: commands that need no connection.
        progress: show a bar on stderr.
    """

    def __init__(self, part: Path, remedy: str, progress: bool) -> None:
        self._part, self._remedy, self._progress = part, remedy, progress

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> None:
        """Pooch's downloader protocol: bring ``url`` to ``output_file``.

        Raises:
            UserError: no connection, a certificate that is not accepted, an HTTP error, or a connection that broke.
            OSError: the file cannot be written.
        """
        have = self._have()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.exceptions.SSLError:
            why = f"the certificate of {urlsplit(url).hostname} was not accepted, so nothing was downloaded"
            raise UserError(f"{url}: {why}; with the files at hand, run {self._remedy}") from None
        except requests.RequestException as error:
            why = f"no connection to {urlsplit(url).hostname} ({type(error).__name__})"
            raise UserError(f"{url}: {why}; with the files at hand, run {self._remedy}") from None
        with response:
            if have and response.status_code == 416:
                pass  # nothing is missing; the checksum decides whether it is this file
            elif response.ok:
                resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                self._receive(response, have if resumed else 0)
            else:
                raise UserError(f"{url}: the server answered {response.status_code} {response.reason}")
        self._part.replace(output_file)

    def _receive(self, response: requests.Response, have: int) -> None:
        """Append the body to the first ``have`` bytes."""
        total = have + int(response.headers.get("Content-Length", 0))
        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), disable=not self._progress)
        try:
            with self._part.open("ab" if have else "wb") as file, bar:
                task = bar.add_task(self._part.stem, total=total, completed=have)
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.advance(task, len(chunk))
            broken = self._have() < total
        except requests.RequestException:
            broken = True
        if broken:
            raise UserError(
                f"{response.url}: cut after {self._have():,} of {total:,} bytes; repeat the command to go on"
            )

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0
