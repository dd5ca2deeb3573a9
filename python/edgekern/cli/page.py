# SPDX-License-Identifier: Apache-2.0
"""Makes the report of a compiled model: one HTML page that needs nothing beside it.

Everything comes from the model file and the plan it gets here. No script, no reference to any other file; all text of
the file is escaped. The page is XML too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgekern.artifact.report import layers_of
from edgekern.cli.figures import bars, clean, dots, short
from edgekern.graph.graph import Graph
from edgekern.plan import OpProfile
from edgekern.report import Layer, Report, shown_name
from edgekern.types import DType

__all__ = ["live_bytes", "report_page", "step_of"]

WORST = 5  # layers that the plot of noise names

_STYLE = """
:root{color-scheme:light dark;--ink:#1e2024;--faint:#6a6f78;--paper:#fdfdfb;--panel:#f1f2ef;--line:#d9dbd6;
--good:#2f6fb5;--bad:#c4202a}
@media (prefers-color-scheme:dark){:root{--ink:#e8e9e6;--faint:#9aa0a8;--paper:#17191c;--panel:#22252a;--line:#3a3e45;
--good:#6fb0f2;--bad:#ff7a72}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;margin:0 auto;
padding:24px 20px 60px}
h1{font-size:1.5em;margin:0;overflow-wrap:anywhere}h2{font-size:1.1em;margin:2em 0 .5em}p{margin:.3em 0}
.faint,figcaption{color:var(--faint)}
dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:10px;margin:1.2em 0}
dl.tiles div{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:8px 12px}
dt{color:var(--faint);font-size:.85em;overflow-wrap:anywhere}dd{margin:0}dl.tiles dd:first-of-type{font-size:1.35em}
dl.tiles dd+dd{color:var(--faint);font-size:.85em}
figure{margin:1.2em 0 0;overflow-x:auto}figcaption{margin-bottom:2px}figcaption b{color:var(--ink)}
svg{width:100%;min-width:640px;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--faint)}
.grid{stroke:var(--line)}.bar,.dot{fill:var(--good)}.stem{stroke:var(--good);opacity:.35}
.exact{fill:none;stroke:var(--good)}.worst,svg text.worst{fill:var(--bad)}svg text.worst{font-weight:600}
line.limit{stroke:var(--bad);stroke-dasharray:5 4}svg text.limit{fill:var(--bad)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.86em;font-variant-numeric:tabular-nums}
.wide table{min-width:100%}th{text-align:left;color:var(--faint);font-weight:600;vertical-align:bottom}
th,td{padding:3px 10px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}td.n{white-space:nowrap}
td.name,td.kernel{overflow-wrap:anywhere;min-width:15em}td.kernel{min-width:17em}
tr.worst td.db{color:var(--bad)}
ul,ol{margin:.3em 0;padding-left:1.4em}code{font-size:.95em;overflow-wrap:anywhere}
@media print{:root{color-scheme:light;--ink:#000;--faint:#444;--paper:#fff;--panel:#fff;--line:#bbb;--good:#2f6fb5;
--bad:#c4202a}figure,dl div,tr{break-inside:avoid}thead{display:table-header-group}body{font-size:11px}
h2{break-after:avoid}table{font-size:8.5px}.wide,figure{overflow:visible}svg{min-width:0}}
"""


def report_page(graph: Graph, report: Report | None, facts: Mapping[str, Any], steps: Sequence[OpProfile]) -> str:
    """The page's text.

    Args:
        graph: Of the model file.
        report: The compiler's, None where the file holds none.
        facts: What `inspect` gathers: file, bytes, memory, provenance and so on.
        steps: Of the plan; their times are shown if they were measured.
    """
    layers = layers_of(graph) if report is None else report.layers
    worst = [] if report is None else [layers.index(n) for n in report.worst(WORST) if math.isfinite(n.sqnr)]
    title = clean(str(facts["file"]).rpartition("/")[2])
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width"/><style>{_STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        _subtitle(facts),
        _tiles(_headline(report, layers, facts, steps)),
        "<h2>Layer by layer</h2>",
        *_plots(graph, layers, worst, report, facts),
        "<h2>Layers</h2>",
        _layer_table(graph, layers, worst, report is not None, steps),
        *_history(report),
        "<h2>Tensors of the caller</h2>",
        _port_table(facts),
        *_rest(facts),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _subtitle(facts: Mapping[str, Any]) -> str:
    compiler = clean(facts["provenance"].get("edgekern", "unknown"))
    versions = f"format {facts['format_version']}, arithmetic {facts['arithmetic_version']}"
    answer = clean(facts["known_answer"])
    return f'<p class="faint">compiled by edgekern {compiler}; {versions}; known answer: {answer}</p>'


# ---- figures ------------------------------------------------------------------------------------


def _headline(
    report: Report | None, layers: Sequence[Layer], facts: Mapping[str, Any], steps: Sequence[OpProfile]
) -> list[tuple[str, str, str]]:
    """(name, figure, remark) of what matters most."""
    memory = facts["memory"]
    tiles = []
    if report is not None and report.accuracy is not None:
        a = report.accuracy
        tiles.append(("accuracy int8", f"{a.int8:.2%}", f"float {a.float32:.2%}, {a.samples:,} samples"))
    if report is not None:
        for o in report.outputs:
            remark = f"same class {o.same_class:.1%}, greatest difference {o.greatest:.4g}"
            tiles.append((f"SQNR of {o.name}", f"{decibels(o.sqnr)} dB".replace("exact dB", "exact"), remark))
    remark = ""
    if report is not None and report.bytes:
        remark = f"source {report.source_bytes:,} bytes, {report.source_bytes / report.bytes:.1f} times as many"
    tiles.append(("file", f"{facts['bytes']:,} bytes", remark))
    remark = "" if report is None else f"{report.parameters:,} parameters"
    tiles.append(("multiply-accumulates a frame", f"{sum(n.macs for n in layers):,}", remark))
    parts = f"weights {memory['weights']:,}, arena {memory['arena']:,}, scratch {memory['scratch']:,}"
    tiles.append(("memory while loaded", f"{memory['total']:,} bytes", parts))
    if report is not None:
        tiles.append(_calibration(report))
    if any(s.nanoseconds for s in steps):
        tiles.append(("time of a frame, steps added", f"{sum(s.nanoseconds for s in steps) / 1000:,.1f} us", "here"))
    return tiles


def _calibration(report: Report) -> tuple[str, str, str]:
    if not report.calibration_samples:
        return "calibration", "none", "the source's own integers; compared on one random frame"
    weights = ", weights rounded to make up for each other" if report.rounding == "compensated" else ""
    biases = ", biases corrected" if report.bias_correction else ""
    remark = f"{report.method} ranges{weights}{biases}; compared on {report.compared_samples}"
    return "calibration", f"{report.calibration_samples:,} samples", remark


def _tiles(tiles: Iterable[tuple[str, str, str]]) -> str:
    cells = (
        f"<div><dt>{clean(name)}</dt><dd>{clean(figure)}</dd>{f'<dd>{clean(remark)}</dd>' if remark else ''}</div>"
        for name, figure, remark in tiles
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def decibels(value: float) -> str:
    """As `Report` prints them."""
    return f"{value:.1f}" if math.isfinite(value) else "exact"


# ---- plots --------------------------------------------------------------------------------------


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of the tensors that live while each node runs: made before and read from here on, or its result."""
    last = {name: k for k, node in enumerate(graph.nodes) for name in node.inputs}
    last.update((port.tensor, len(graph.nodes)) for port in graph.outputs)
    made = {port.tensor: 0 for port in graph.inputs}
    made.update((node.output, k) for k, node in enumerate(graph.nodes))
    sizes = {name: graph.types[name].size * graph.types[name].dtype.numpy.itemsize for name in made}
    return [
        sum(sizes[name] for name, first in made.items() if first <= k <= last.get(name, first))
        for k in range(len(graph.nodes))
    ]


def _plots(
    graph: Graph, layers: Sequence[Layer], worst: Sequence[int], report: Report | None, facts: Mapping[str, Any]
) -> Iterable[str]:
    names = [f"{k}. {shown_name(n.name)}" for k, n in enumerate(layers, 1)]
    if report is not None:
        told = [f"{name}: {decibels(n.sqnr)} dB" for name, n in zip(names, layers, strict=True)]
        plot = dots([n.sqnr for n in layers], told, "SQNR of each layer in dB", worst)
        yield _figure("<b>SQNR</b>, dB: int8 against float32 after each layer; more is better", plot)
        listed = (
            f"<li>{k + 1}: {_name(layers[k].name)} ({clean(layers[k].op)}) {decibels(layers[k].sqnr)} dB</li>"
            for k in worst
        )
        if worst:
            yield f'<p>Worst:</p><ul class="worst-layers">{"".join(listed)}</ul>'
    for title, values in (
        ("Multiply-accumulates", [n.macs for n in layers]),
        ("Bytes of constants", [n.bytes for n in layers]),
    ):
        told = [f"{name}: {value:,}" for name, value in zip(names, values, strict=True)]
        yield _figure(f"<b>{title}</b>, {short(sum(values))} in all", bars(values, told, f"{title} of each layer"))
    live = live_bytes(graph)
    arena = facts["memory"]["arena"]
    told = [f"{name}: {value:,}" for name, value in zip(names, live, strict=True)]
    plot = bars(live, told, "Bytes of tensors alive at each layer", (arena, f"arena {arena:,}"))
    caption = (
        "<b>Tensors alive</b>, bytes while each layer runs alone. The arena holds their halos too, and not what fused "
        "layers pass on in rows"
    )
    yield _figure(caption, plot)


def _figure(caption: str, plot: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{plot}</figure>"


def _breakable(name: str) -> str:
    """A long name that may go on in the next line after a slash, semicolon or plus."""
    return "<wbr/>".join(clean(part) for part in re.split(r"(?<=[/;+])(?=.)", name))


# ---- tables -------------------------------------------------------------------------------------


def step_of(layers: Sequence[Layer], steps: Sequence[OpProfile]) -> list[OpProfile | None]:
    """The step that runs each layer; a step of several bears the name of its last."""
    names = {layer.name for layer in layers}
    waiting = [s for s in steps if s.name in names]
    found: list[OpProfile | None] = []
    for layer in layers:
        found.append(waiting[0] if waiting else None)
        if waiting and waiting[0].name == layer.name:
            waiting.pop(0)
    return found


def _layer_table(
    graph: Graph, layers: Sequence[Layer], worst: Sequence[int], known: bool, steps: Sequence[OpProfile]
) -> str:
    timed = any(s.nanoseconds for s in steps)
    head = [
        "#!",
        "layer",
        "made of",
        "op",
        "shape",
        "inside: scale, zero point!",
        "MACs!",
        "bytes!",
        "SQNR dB!",
        "kernel",
        *(["us!"] if timed else []),
    ]
    cells = "".join(f'<th class="n">{h[:-1]}</th>' if h.endswith("!") else f"<th>{h}</th>" for h in head)
    rows, marked = [], ' class="worst"'
    for k, (layer, node, step) in enumerate(zip(layers, graph.nodes, step_of(layers, steps), strict=True)):
        held = graph.types[node.output]
        scale = f"{held.quant.scale:.5g}, {held.quant.zero_point}" if held.quant else ""
        inside = scale if held.dtype is DType.INT8 else f"{held.dtype.name.lower()} {scale}".rstrip()
        kernel = "" if step is None else step.kernel if step.op == layer.op else f"{step.op}: {step.kernel}"
        time = f"{step.nanoseconds / 1000:,.2f}" if step is not None and step.name == layer.name else ""
        rows.append(
            f'<tr{marked if k in worst else ""}><td class="n">{k + 1}</td>'
            f'<td class="name">{_name(layer.name)}</td><td>{clean(" + ".join(layer.made_of))}</td>'
            f"<td>{clean(layer.op)}</td><td>{'&#xd7;'.join(map(str, layer.shape))}</td>"
            f'<td class="n">{inside}</td><td class="n">{layer.macs:,}</td><td class="n">{layer.bytes:,}</td>'
            f'<td class="n db">{decibels(layer.sqnr) if known else ""}</td><td class="kernel">{_breakable(kernel)}</td>'
            + (f'<td class="n">{time}</td></tr>' if timed else "</tr>")
        )
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table id="layers"><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
    )


def _name(name: str) -> str:
    """A layer's name; what it leaves out of a long one comes up under the pointer."""
    shown = _breakable(shown_name(name))
    return shown if shown_name(name) == name else f'<span title="{clean(name)}">{shown}</span>'


def _history(report: Report | None) -> Iterable[str]:
    """What the compiler fused and took out."""
    if report is None:
        yield '<p class="faint">The file holds no report of its compiler.</p>'
        return
    if report.changes:
        yield "<h2>Passes</h2><ul>" + "".join(f"<li>{clean(change)}</li>" for change in report.changes) + "</ul>"
    if report.removed:
        items = (f"<li>{clean(r.op)}, {r.count:,}: {clean(r.why)}</li>" for r in report.removed)
        yield f"<h2>Source operators of which nothing is left</h2><ul>{''.join(items)}</ul>"


def _port_table(facts: Mapping[str, Any]) -> str:
    rows = [
        (side, t["name"], t["dtype"], list(t["shape"]), t["scale"] or "float32", t["zero_point"] if t["scale"] else "")
        for side, ports in (("input", facts["inputs"]), ("output", facts["outputs"]))
        for t in ports
    ]
    return _table(("", "name", "type", "shape", "scale inside", "zero point"), rows)


def _rest(facts: Mapping[str, Any]) -> Iterable[str]:
    """Preprocess, labels and provenance, but for the report that the page is."""
    for title in ("preprocess", "provenance"):
        if rows := list(_flat({k: v for k, v in (facts[title] or {}).items() if k != "report"})):
            yield f"<h2>{title.capitalize()}</h2>{_table((), rows)}"
    if facts["labels"]:
        yield f"<h2>Labels</h2><p>{clean(', '.join(map(str, facts['labels'])))}</p>"


def _flat(facts: Mapping[str, Any], outer: str = "") -> Iterable[tuple[str, object]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{outer}{key} ")
        else:
            yield f"{outer}{key}", value


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = f"<thead><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr></thead>" if head else ""
    body = "".join("<tr>" + "".join(f"<td>{clean(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'
