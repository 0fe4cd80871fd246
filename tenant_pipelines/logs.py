"""Logs: structlog to stderr, JSON in production and text on the local stack, and to the stack's one stream."""

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from tenant_pipelines.domain.journal import Marker

NAME = "tenant_pipelines"


class LoggedJournal:
    """Writes the markers as log lines; fulfils `domain.journal.Journal`."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401 - structlog's bound loggers have no common type
        self._logger = logger

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        """One line, at the level error for FLOW_FAIL and info for the others."""
        log = self._logger.error if marker is Marker.FAIL else self._logger.info
        log(
            f"[{marker}] {_in_one_line(text)}",
            tenantId=str(tenant_id),
            workflowId=workflow_id,
            runId=str(run_id),
            step=step or "-",
        )


def _in_one_line(text: str) -> str:
    """An outside system's words may hold line ends, and whatever moves a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def journal(log_format: str, log_file: Path | None) -> LoggedJournal:
    """Answer the journal that writes to this process's log, which is opened the first time.

    Args: log_format: json or text. log_file: the local stack's stream, or None.
    """
    logger = logging.getLogger(NAME)
    if not logger.handlers:
        _open(logger, log_file)
    last = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    return LoggedJournal(
        structlog.wrap_logger(
            logger,
            processors=[
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                last,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
        ).bind()  # once, not for each line
    )


def _open(logger: logging.Logger, log_file: Path | None) -> None:
    logger.addHandler(logging.StreamHandler(sys.stderr))
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        logger.addHandler(logging.handlers.WatchedFileHandler(log_file))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("stripe").setLevel(logging.WARNING)  # at INFO it prints addresses with e-mails in them
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # whoever asks the database is told that it is away
