"""Draws lanes as SVG: time runs to the right, the steps go down, and a rollback comes back up.

Until a rollback's own run has begun, nothing happens but the start of a process: that time is shown as a break.
"""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from docs.picture.lanes import Bar, Lane, Look

WIDTH = 980
LEFT = 28
RIGHT = 130
"""Pixels that the name beside the last bar needs."""
TOP = 84
HEAD = 30
ROW = 13
BAR = 8
THINNEST = 3
NAME = 140
"""Pixels that the name of a failed step needs."""
BREAK = NAME + 130
"""Pixels between a failure and its rollback, whatever the time."""
BETWEEN = 14
FONT = "-apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"

FILLS: Mapping[Look, str] = {
    Look.DONE: "#4878a6",
    Look.PIVOT: "#2f8f5b",
    Look.FAILED: "#c8433a",
    Look.WAITING: "#b9cde0",
    Look.UNDONE: "#d9a441",
}
LEGEND: Mapping[Look, str] = {
    Look.DONE: "done",
    Look.PIVOT: "point of no return",
    Look.WAITING: "waiting, no worker held",
    Look.FAILED: "failed",
    Look.UNDONE: "undone",
}


def draw(lanes: Sequence[Lane]) -> str:
    """The picture as the text of an SVG file."""
    plans = [_Plan(lane) for lane in lanes]
    scale = min((WIDTH - LEFT - RIGHT - plan.broken) / plan.drawn for plan in plans)
    body: list[str] = []
    y = TOP
    for plan in plans:
        body += _lane(plan, y, scale)
        y += _height(plan.lane) + BETWEEN
    axis = _text(LEFT, y + 4, "A line is a second; 0 is where a worker has begun the first step.", colour="#7d8791")
    return "\n".join([*_open(y + 22), *_legend(), *body, axis, "</svg>", ""])


class _Plan:
    """Where the moments of a lane are.

    Args: lane: its rollback, if there is one, is moved to right behind the break.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.forward = max(bar.end for bar in lane.bars if bar.look is not Look.UNDONE)
        self.pause = lane.undone[0].begin - self.forward if lane.undone else 0.0
        self.broken = BREAK if lane.undone else 0
        self.drawn = lane.seconds - self.pause

    def x(self, second: float, scale: float) -> float:
        """The pixel of a moment."""
        if second <= self.forward:
            return LEFT + second * scale
        return LEFT + self.broken + (second - self.pause) * scale


def _open(height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="{FONT}" font-size="11" fill="#2b3440">',
        "<!-- Drawn by docs/picture from docs/picture/run.json: make docs -->",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#d8dee4"/>',
        _text(LEFT, 32, "Provisioning of four tenants, as the ledger recorded it", size=16, bold=True),
    ]


def _legend() -> list[str]:
    parts, x = [], LEFT
    for look, words in LEGEND.items():
        parts.append(f'<rect x="{x}" y="47" width="18" height="{BAR}" rx="2" fill="{FILLS[look]}"/>')
        parts.append(_text(x + 24, 55, words, colour="#57606a"))
        x += 44 + 6 * len(words)
    return parts


def _height(lane: Lane) -> int:
    return HEAD + ROW * len(lane.steps)


def _lane(plan: _Plan, y: float, scale: float) -> list[str]:
    lane = plan.lane
    top = y + HEAD - 8
    rows = {step: top + ROW * row for row, step in enumerate(lane.steps)}
    names = {bar.step: bar.end for bar in lane.bars if bar.look is not Look.UNDONE}
    return [
        _text(LEFT, y + 12, lane.tenant, size=13, bold=True),
        _text(LEFT + 9 * len(lane.tenant) + 8, y + 12, _words(lane), colour="#57606a"),
        *_seconds(plan, top - 4, y + _height(lane) - 8, scale),
        *(_bar(plan, bar, rows[bar.step], scale) for bar in lane.bars),
        *(_beside(plan.x(end, scale), rows[step], step) for step, end in names.items()),
        *_rollback(plan, rows, scale),
    ]


def _words(lane: Lane) -> str:
    count = len(lane.steps)
    if lane.word == "completed":
        return f"{lane.tier}: {count} steps, completed after {lane.seconds:.1f} s"
    return f"{lane.tier}: failed at {lane.steps[-1]}, rolled back and closed after {lane.seconds:.1f} s"


def _seconds(plan: _Plan, top: float, bottom: float, scale: float) -> list[str]:
    """A thin line for each second of the forward side."""
    places = [plan.x(second, scale) for second in range(int(plan.forward) + 1)]
    return [f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#e8ecf0"/>' for x in places]


def _rollback(plan: _Plan, rows: Mapping[str, float], scale: float) -> list[str]:
    """The break before it, and what it comes to."""
    undone = plan.lane.undone
    if not undone:
        return []
    row = rows[undone[0].step] + BAR / 2
    left, right = plan.x(plan.forward, scale) + NAME, plan.x(undone[0].begin, scale) - 4
    end = undone[-1]
    return [
        f'<path d="M{left:.1f} {row}H{right:.1f}" stroke="#9aa4ae" stroke-dasharray="2 4"/>',
        _text((left + right) / 2, row - 6, f"its run begins {plan.pause:.1f} s later", size=9.5, anchor="middle"),
        _beside(plan.x(end.end, scale), rows[end.step], _left(plan.lane.left), bold=True),
    ]


def _left(count: int) -> str:
    return f"left behind: {count}" if count else "nothing is left"


def _bar(plan: _Plan, bar: Bar, y: float, scale: float) -> str:
    left = plan.x(bar.begin, scale)
    width = max(plan.x(bar.end, scale) - left, THINNEST)
    title = f"{bar.step}: {bar.look}, {bar.end - bar.begin:.2f} s"
    return (
        f'<rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2" '
        f'fill="{FILLS[bar.look]}"><title>{escape(title)}</title></rect>'
    )


def _beside(x: float, y: float, words: str, *, bold: bool = False) -> str:
    return _text(x + THINNEST + 3, y + BAR - 0.5, words, size=9.5, bold=bold)


def _text(
    x: float, y: float, words: str, *, size: float = 11, bold: bool = False, colour: str = "", anchor: str = ""
) -> str:
    more = f' font-size="{size}"' if size != 11 else ""
    more += ' font-weight="600"' if bold else ""
    more += f' fill="{colour}"' if colour else ""
    more += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'
