"""The end of a run's log, without the secrets that Terraform or a provider may have printed.

Source: HCP Terraform API, Plans and Applies (`log-read-url`). The text starts with STX and ends with ETX, and Terraform
colours it.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator

LINES = 200
"""How many lines of a failed run's log are kept."""

_LONGEST_LINE = 500
"""Characters of a line that are shown; of a longer one, only so many more are looked at."""

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_NAMES = (
    r"(?:passw(?:or)?d|passphrase|secret|token|credential|api[_\-]?key|access[_\-]?key|account[_\-]?key"
    r"|private[_\-]?key|connection[_\-]?string)[\w.\-]*"
)
_ASSIGNED = re.compile(rf"(?i)({_NAMES}\\?[\"']?\s*(?:=>|->|[=:])\s*)(\\?\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s,;}}\])]+)")
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._~\-]{8,}")
_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_WELL_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\b\w{14}\.atlasv1\.\w+"
)


def tail(lines: Iterable[str], *, secrets: Iterable[str] = ()) -> list[str]:
    """The last lines that say something, masked, each of bounded length.

    Args: secrets: values that are masked wherever they stand.
    """
    hidden = tuple(secret for secret in secrets if secret)
    return list(deque(_shown(lines, hidden), maxlen=LINES))


def first_error(lines: Iterable[str]) -> str:
    """The first line in which Terraform says what went wrong, or an empty text."""
    return next((line.strip("│╷╵ ") for line in lines if "Error: " in line), "")


def masked(line: str, secrets: Iterable[str] = ()) -> str:
    """The line with *** in the place of everything that looks like a secret."""
    for secret in secrets:
        line = line.replace(secret, "***")
    line = _ASSIGNED.sub(r"\1***", line)
    line = _BEARER.sub(r"\1***", line)
    line = _IN_URL.sub(r"\1***@", line)
    return _WELL_KNOWN.sub("***", line)


def _shown(lines: Iterable[str], secrets: tuple[str, ...]) -> Iterator[str]:
    inside_key = False
    for raw in lines:
        line = _CONTROL.sub("", raw).rstrip()
        starts, ends = "-----BEGIN " in line, "-----END " in line
        if (inside_key or starts) and not ends:
            inside_key = True
            if starts:
                yield "*** (PEM)"
            continue
        inside_key = False
        if line and not ends:
            yield masked(line[: 4 * _LONGEST_LINE], secrets)[:_LONGEST_LINE]
