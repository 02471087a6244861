"""The page a person sees at ``/``: what is served here and how to ask it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...predictions.schema import InputSchema

_STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2.5rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}p.sub{margin:.2rem 0 1.5rem;opacity:.7}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}pre{background:#8882;padding:.8rem;
border-radius:6px;overflow:auto}code{font:13px ui-monospace,monospace}
"""


def render(
    *,
    model: str,
    version: int,
    schema: InputSchema,
    example: Sequence[Mapping[str, Any]] | None,
    url: str,
    guarded: bool,
) -> bytes:
    row = dict(example[0]) if example else {f.name: _sample(f.type) for f in schema.features}
    row = {name: row.get(name) for name in schema.names}
    body = orjson.dumps({"instances": [row]}).decode()
    header = "\\\n  -H 'authorization: Bearer …' " if guarded else ""
    quoted = body.replace("'", "'\\''")
    curl = f"curl -s {url}/predict {header}\\\n  -H 'content-type: application/json' \\\n  -d '{quoted}'"
    features = "".join(
        f"<tr><td><code>{escape(f.name)}</code></td><td>{f.type}</td>"
        f"<td>{'may be null' if f.nullable else ''}</td></tr>"
        for f in schema.features
    )
    name = escape(model)
    path = f"/v2/models/{name}"
    links = " · ".join(f'<a href="{p}">{p}</a>' for p in (path, "/v2/health/ready", "/metrics"))
    outputs = schema.outputs
    answer = outputs.task + (f" of {', '.join(map(str, outputs.classes))}" if outputs.classes else "")
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{name} · version {version}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>
<h1>{name}</h1><p class="sub">version {version} · {escape(answer)} · served by Windsock</p>
<h2>Try it</h2><pre><code>{escape(curl)}</code></pre>
<p>Or the Open Inference Protocol: <code>POST {path}/infer</code>. {links}</p>
<h2>Features</h2><table><tr><th>name</th><th>type</th><th></th></tr>{features}</table></html>"""
    return page.encode()


def _sample(kind: str) -> Any:
    return {"float": 0.0, "int": 0, "bool": False, "string": ""}[kind]
