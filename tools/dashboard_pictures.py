"""Draws the shipped dashboards from what a Prometheus has: the pictures of docs/dashboards.md.

Not Grafana's looks, but its panels, queries, units and places. Run it as
``python tools/dashboard_pictures.py http://127.0.0.1:9090 docs/images``.
"""

from __future__ import annotations

import html
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from playwright.sync_api import sync_playwright

DASHBOARDS = Path(__file__).parents[1] / "mixin/dashboards"
SPAN, STEP = 600, 5  # seconds
CELL, HIGH = 50, 30  # pixels of a column and a row of Grafana's grid
Lines: TypeAlias = Sequence[tuple[str, Sequence[tuple[float, float]]]]

COLOURS = ["#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e02f44", "#f2cc0c", "#8ab8ff", "#705da0", "#37872d"]
STYLE = """
body { margin: 0; background: #f4f5f5; font: 12px system-ui; color: #24292e; position: relative }
div { position: absolute; box-sizing: border-box; background: #fff; border: 1px solid #dcdcde;
      overflow: hidden;
      border-radius: 3px }
h1 { font-size: 17px; margin: 0; padding: 10px 14px }
h2 { font-size: 12px; margin: 6px 8px; font-weight: 600 }
b { position: absolute; inset: 48px 0 0; text-align: center; font-size: 26px; font-weight: 600 }
.row { background: none; border: 0; font-weight: 600; padding: 8px }
ul { margin: 0 8px; padding: 0; columns: 3 }
li { list-style: none; font-size: 10px; white-space: nowrap; overflow: hidden }
i { display: inline-block; width: 8px; height: 3px; margin: 0 4px 3px 0 }
"""


def asked(base: str, path: str, **query: object) -> list[dict[str, Any]]:
    """The series that Prometheus answers."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the address is the user's own
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def filled(expression: str) -> str:
    """With every variable at "all"."""
    return re.sub(r"\$(?!__)\w+", ".*", expression).replace("$__rate_interval", "30s")


def called(legend: str, labels: dict[str, str]) -> str:
    """A series' name."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    if unit == "percentunit":
        return f"{value:.0%}"
    text = f"{value:.3g}" if value != round(value) else f"{value:.0f}"
    return text + {"s": " s", "ops": "/s"}.get(unit, "")


def series(base: str, panel: dict[str, Any], now: float) -> Lines:
    """(name, (time, value)...) of every line of a panel."""
    return [
        (called(target["legendFormat"], one["metric"]), [(at, float(value)) for at, value in one["values"]])
        for target in panel["targets"]
        for one in asked(
            base, "query_range", query=filled(target["expr"]), start=now - SPAN, end=now, step=STEP
        )
    ]


def stat(base: str, panel: dict[str, Any]) -> str:
    """One number, in the colour of its threshold or as the word that it stands for."""
    found = asked(base, "query", query=filled(panel["targets"][0]["expr"]))
    if not found:
        return "<b>–</b>"
    value = float(found[0]["value"][1])
    defaults = panel["fieldConfig"]["defaults"]
    words = {key: one for mapping in defaults["mappings"] for key, one in mapping["options"].items()}
    word = words.get(f"{value:.0f}", {})
    passed = [step["color"] for step in defaults["thresholds"]["steps"] if value >= (step["value"] or 0)]
    colour = {"green": "#37872d", "red": "#c4162a"}[word.get("color") or passed[-1]]
    text = word.get("text") or shown(value, defaults["unit"])
    return f'<b style="color:{colour}">{html.escape(text)}</b>'


def lines(panel: dict[str, Any], found: Lines, now: float) -> str:
    """The panel's lines, or its bars of states, with their names."""
    place, unit = panel["gridPos"], panel["fieldConfig"]["defaults"]["unit"]
    wide, high = place["w"] * CELL - 70, place["h"] * HIGH - 80
    drawn = _states if panel["type"] == "state-timeline" else _curves
    legend = "".join(
        f'<li><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{html.escape(name)}</li>'
        for n, (name, _) in enumerate(found[:9])
    )
    return drawn(found, now, wide, high, unit) + f"<ul>{legend}</ul>"


def _curves(found: Lines, now: float, wide: int, high: int, unit: str) -> str:
    top = max((value for _, values in found for _, value in values), default=1) or 1
    drawn = ""
    for part in (0, 0.5, 1):
        y = high - high * part + 6
        drawn += f'<line x1="50" x2="{wide + 50}" y1="{y}" y2="{y}" stroke="#eee"/>'
        drawn += f'<text x="46" y="{y + 3}" text-anchor="end" font-size="9">{shown(top * part, unit)}</text>'
    for n, (_, values) in enumerate(found):
        places = [
            (50 + wide * (at - now + SPAN) / SPAN, 6 + high - high * value / top) for at, value in values
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour = COLOURS[n % len(COLOURS)]
        drawn += f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'
    return f'<svg width="{wide + 60}" height="{high + 14}">{drawn}</svg>'


def _states(found: Lines, now: float, wide: int, high: int, unit: str) -> str:
    bars = ""
    step = max(8, high // max(1, len(found)))
    for n, (name, values) in enumerate(found[: high // step or 1]):
        bars += f'<text x="8" y="{n * step + step / 2 + 4}" font-size="9">{html.escape(name[-22:])}</text>'
        for at, value in values:
            x = 130 + (wide - 80) * (at - now + SPAN) / SPAN
            colour = "#56a64b" if value else "#e02f44"
            bars += f'<rect x="{x:.1f}" y="{n * step + 2}" width="{(wide - 80) * STEP / SPAN + 0.5:.1f}" '
            bars += f'height="{step - 4}" fill="{colour}"/>'
    return f'<svg width="{wide + 60}" height="{high + 14}">{bars}</svg>'


def page(base: str, dashboard: dict[str, Any]) -> str:
    """The dashboard as one HTML page."""
    now = time.time() // STEP * STEP
    parts = [f"<style>{STYLE}</style><h1>{html.escape(dashboard['title'])}</h1>"]
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        left, top = at["x"] * CELL + 4, at["y"] * HIGH + 44
        box = f"left:{left}px;top:{top}px;width:{at['w'] * CELL - 8}px;height:{at['h'] * HIGH - 8}px"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="{box}">{title}</div>')
            continue
        body = stat(base, panel) if panel["type"] == "stat" else lines(panel, series(base, panel, now), now)
        parts.append(f'<div style="{box}"><h2>{title}</h2>{body}</div>')
    return "".join(parts)


def main() -> None:
    """One picture a dashboard."""
    base, folder = sys.argv[1], Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for path in sorted(DASHBOARDS.glob("*.json")):
            dashboard = json.loads(path.read_text())
            bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
            view = browser.new_page(viewport={"width": 24 * CELL + 4, "height": bottom * HIGH + 50})
            view.set_content(page(base, dashboard))
            view.screenshot(path=folder / f"dashboard-{path.stem}.png")
        browser.close()


if __name__ == "__main__":
    main()
