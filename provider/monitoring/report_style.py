"""The style sheet of the HTML report: light and dark by the reader's setting, readable in print, no web font."""

CSS = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#566373;--line:#dfe4ea;
--ref:#b9c3cf;--cur:#c2410c;--tint:rgba(234,88,12,.16);--drift:#b42318;--drift-bg:#fdecea;
--warn:#8a5a00;--warn-bg:#fff3d6;--ok:#1a6b3c;--ok-bg:#e3f5ea;--deg:#54359b;--deg-bg:#eee9fb;--link:#0b57a4}
@media(prefers-color-scheme:dark){:root{--bg:#0e141b;--card:#161e28;--ink:#e8edf3;--soft:#9fadbc;--line:#2a3644;
--ref:#4a5a6c;--cur:#ff9757;--tint:rgba(255,151,87,.18);--drift:#ff9d92;--drift-bg:#4a1d19;--warn:#ffce70;
--warn-bg:#42330c;
--ok:#86dba8;--ok-bg:#143823;--deg:#c9b6ff;--deg-bg:#33265a;--link:#7dbbff}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}a{color:var(--link)}
h1{font-size:15px;font-weight:600;color:var(--soft);margin:0 0 10px}h2{font-size:19px;margin:38px 0 12px}
h3{font-size:16px;margin:0;overflow-wrap:anywhere}
.lead{font-size:25px;line-height:1.28;font-weight:650;margin:10px 0 6px;letter-spacing:-.01em;text-wrap:balance}
.soft{color:var(--soft)}.num{font-variant-numeric:tabular-nums;white-space:nowrap}
.pill{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12.5px;font-weight:650;white-space:nowrap}
.drift{color:var(--drift);background:var(--drift-bg)}.warn{color:var(--warn);background:var(--warn-bg)}
.ok{color:var(--ok);background:var(--ok-bg)}.degenerate{color:var(--deg);background:var(--deg-bg)}
.facts{display:flex;flex-wrap:wrap;gap:10px 34px;margin:20px 0 0;padding:0}.facts div{min-width:90px}
.facts dt{color:var(--soft);font-size:12.5px}
.facts dd{margin:0;font-size:17px;font-weight:600;font-variant-numeric:tabular-nums}
.panel,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.todo{margin:0;padding-left:20px}.todo li{margin:5px 0}
.scroll{overflow-x:auto;padding:4px 0}table{border-collapse:collapse;width:100%;font-size:14px}
th{font-weight:600;color:var(--soft);font-size:12.5px;text-align:left}
th,td{padding:7px 12px;border-bottom:1px solid var(--line);
vertical-align:top}tr:last-child td{border-bottom:0}td.r,th.r{text-align:right}td:first-child{overflow-wrap:anywhere}
.bar{display:block;width:92px;height:8px;border-radius:4px;background:var(--line);position:relative;margin-top:7px}
.bar i{position:absolute;inset:0 auto 0 0;border-radius:4px;background:var(--soft)}.bar.hot i{background:var(--cur)}
.bar b{position:absolute;left:50%;top:-3px;bottom:-3px;width:2px;background:var(--ink)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px}
.card{scroll-margin-top:12px}.card header{display:flex;gap:10px;justify-content:space-between;align-items:baseline}
.card p{margin:5px 0 10px;font-size:14px}.card .small{font-size:12.5px;color:var(--soft);margin:8px 0 0}
svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-size:11px;fill:var(--soft)}
svg .ref{fill:var(--ref)}svg .cur{fill:var(--tint);stroke:var(--cur);stroke-width:1.6;stroke-linejoin:round}
svg rect.cur{fill:var(--cur);stroke:none}
svg .axis{stroke:var(--soft);stroke-width:1;fill:none}svg .out{fill:var(--cur);font-weight:600}
.key{display:flex;gap:18px;font-size:13px;color:var(--soft);margin:0 0 12px}
.key span::before{content:"";display:inline-block;
width:14px;height:10px;margin-right:6px;border-radius:2px;background:var(--ref)}
.key .now::before{background:var(--tint);border:1.6px solid var(--cur)}
details>summary{cursor:pointer;font-weight:600;padding:4px 0;margin-bottom:10px}footer{margin-top:40px;font-size:13px}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}
@media print{body{background:#fff}.card{break-inside:avoid}}
""".strip()
