"""Draws the comparison as SVG: the time of one provisioning on a logarithmic scale, and the rate of a burst."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.figures import Summary, milliseconds
from benchmarks.results import Side

WIDTH = 980
NAMES = 28
LEFT, RIGHT = 300, 680
"""Pixels between which the times are."""
BARS, END = 760, 900
"""Pixels between which the rates are; their numbers stand behind."""
TOP = 104
ROW = 30
OURS, OTHERS, SLOW = "#2f8f5b", "#4878a6", "#9aa4ae"
GREY, LINE, INK = "#57606a", "#e8ecf0", "#2b3440"
FONT = "-apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic one. Args: low, high: whole powers of ten, in seconds."""

    low: float
    high: float

    def x(self, seconds: float) -> float:
        """The pixel."""
        share = math.log10(seconds / self.low) / math.log10(self.high / self.low)
        return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)

    @property
    def ticks(self) -> Sequence[float]:
        """Every power of ten."""
        first, last = round(math.log10(self.low)), round(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def scale_of(figures: Sequence[Summary]) -> Scale:
    """The one on which all of them are."""
    low, high = min(one.low for one in figures), max(one.high for one in figures)
    return Scale(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))


def plot(sides: Sequence[Side], defaults: Sequence[Side]) -> str:
    """The picture as the text of an SVG file; the first side is ours."""
    everybody = [*sides, *defaults]
    height = TOP + ROW * len(everybody) + 34
    body = _head(height)
    if everybody:
        scale = scale_of([side.one for side in everybody])
        body += _ticks(scale, TOP + ROW * len(everybody))
        fastest = max((side.burst.rate.high for side in sides if side.burst), default=0.0)
        for number, side in enumerate(everybody):
            colour = SLOW if side in defaults else OTHERS
            body += _side(side, TOP + ROW * number + ROW / 2, scale, fastest, OURS if number == 0 else colour)
    return "\n".join([*body, "</svg>", ""])


def _head(height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="{FONT}" font-size="11" fill="{INK}">',
        "<!-- Drawn by docs/measured from docs/measured/figures.json: make docs -->",
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff" stroke="#d8dee4"/>',
        _text(NAMES, 32, "14 steps that do nothing outside", size=16, bold=True),
        _text(NAMES, 54, "dot: median; line: lowest to highest; the scale is logarithmic", colour=GREY),
        _text(LEFT, 80, "one, from the client's call to its knowledge of the result, ms", bold=True),
        _text(BARS, 80, "a burst: runs a second", bold=True),
    ]


def _ticks(scale: Scale, bottom: float) -> list[str]:
    lines: list[str] = []
    for tick in scale.ticks:
        x = scale.x(tick)
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="{LINE}"/>')
        lines.append(_text(x, bottom + 14, f"{tick * 1000:g}", colour=GREY, anchor="middle"))
    return lines


def _side(side: Side, y: float, scale: Scale, fastest: float, colour: str) -> list[str]:
    low, median, high = (scale.x(value) for value in (side.one.low, side.one.median, side.one.high))
    said = f"{side.name}: {milliseconds(side.one.low)} to {milliseconds(side.one.high)} ms, {side.one.count} runs"
    parts = [
        _text(NAMES, y + 4, side.name, bold=colour == OURS),
        f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="3" '
        f'stroke-linecap="round" opacity="0.45"><title>{escape(said)}</title></line>',
        f'<circle cx="{median:.1f}" cy="{y}" r="5" fill="{colour}"/>',
        _text(high + 12, y + 4, milliseconds(side.one.median), colour=INK),
    ]
    if side.burst is not None:
        width = (END - BARS) * side.burst.rate.median / fastest
        parts.append(
            f'<rect x="{BARS}" y="{y - 6:.1f}" width="{width:.1f}" height="12" rx="2" fill="{colour}">'
            f"<title>{side.burst.rate.low:.1f} to {side.burst.rate.high:.1f} runs a second</title></rect>"
        )
        parts.append(_text(BARS + width + 8, y + 4, f"{side.burst.rate.median:.1f}"))
    return parts


def _text(
    x: float, y: float, words: str, *, size: float = 11, bold: bool = False, colour: str = INK, anchor: str = "start"
) -> str:
    more = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{more}>'
        f"{escape(words)}</text>"
    )
