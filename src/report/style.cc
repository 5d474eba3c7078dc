#include "report/style.h"

namespace retort::report {

// Six colours told apart by people with any of the common colour deficiencies (after Okabe and Ito, 2008), toned down
// for paper and night; nothing is said by colour alone.
const std::string_view kStyle = R"css(
:root{color-scheme:light dark;--paper:#fbfaf8;--card:#fff;--ink:#1f2328;--soft:#5d656f;--rule:#e4e1da;--grid:#ebe8e2;
--c0:#6a7079;--c1:#c25a14;--c2:#0b6b9c;--c3:#8a4f9e;--c4:#1f7f63;--c5:#93720a;--good:#1b6e55;--bad:#a8460b;
--heat:194,90,20;--shade:rgba(31,35,40,.05)}
@media (prefers-color-scheme:dark){:root{--paper:#15181b;--card:#1b1f23;--ink:#e7e5e0;--soft:#9da6af;--rule:#2d3338;--grid:#262b30;
--c0:#a3abb4;--c1:#e8945a;--c2:#5fb4e5;--c3:#c79bdb;--c4:#58c3a2;--c5:#dcbb58;--good:#6fcbaa;--bad:#eba06b;
--heat:232,148,90;--shade:rgba(255,255,255,.05)}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:860px;margin:0 auto;padding:0 24px}
header{padding-top:56px;padding-bottom:8px}
.brand{display:flex;align-items:center;gap:10px;color:var(--soft);font-size:15px;letter-spacing:.02em}
.brand svg{width:34px;height:34px;flex:none}
h1,h2,.figure{font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Source Serif 4",Charter,Georgia,serif;font-weight:600;letter-spacing:-.01em}
h1{font-size:clamp(28px,5vw,40px);line-height:1.15;margin:20px 0 6px;overflow-wrap:anywhere}
header .subtitle{font-size:18px;color:var(--soft);margin:0 0 14px;max-width:44em}
.facts{list-style:none;display:flex;flex-wrap:wrap;gap:6px 8px;margin:0;padding:0;font-size:13px;color:var(--soft)}
.facts li{border:1px solid var(--rule);border-radius:99px;padding:1px 11px}
nav{margin:26px 0 0;font-size:14px;display:flex;flex-wrap:wrap;gap:4px 18px;border-top:1px solid var(--rule);padding-top:12px}
nav a{color:var(--soft);text-decoration:none}
nav a:hover,nav a:focus{color:var(--ink);text-decoration:underline}
main>section{padding-top:34px}
h2{font-size:24px;line-height:1.25;margin:14px 0 4px}
.lead{color:var(--soft);margin:0 0 14px;max-width:46em}
p{margin:10px 0;max-width:46em}
.soft,.note,small{color:var(--soft)}
.note{font-size:14px}
small{display:block;font-size:12.5px;font-weight:400;line-height:1.4}
.warning{border-left:3px solid var(--c1);padding:8px 14px;background:var(--shade);border-radius:0 6px 6px 0;font-size:15px}
table .good{color:var(--good)}table .bad{color:var(--bad)}
figure{margin:18px 0}
figcaption{font-size:14px;color:var(--soft);margin-bottom:8px;max-width:52em}
figcaption b{color:var(--ink);font-weight:600;font-size:15px}
figcaption span{display:block}
.verdict{list-style:none;margin:18px 0 0;padding:0;border-top:1px solid var(--rule)}
.verdict li{display:grid;grid-template-columns:minmax(150px,max-content) 1fr;gap:4px 28px;align-items:baseline;padding:16px 0;border-bottom:1px solid var(--rule)}
.verdict .figure{font-size:40px;line-height:1.1;font-variant-numeric:lining-nums tabular-nums;color:var(--ink);white-space:nowrap}
.verdict .good .figure{color:var(--good)}.verdict .bad .figure{color:var(--bad)}
.verdict .words b{display:block;font-weight:600;font-size:17px}
.verdict .words span{display:block;color:var(--soft);font-size:15px;max-width:44em}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px 24px;margin:18px 0}
.pairs div{border-top:1px solid var(--rule);padding-top:8px}
.pairs dt,.provenance dt{font-size:13px;color:var(--soft)}
.pairs dd{margin:0;font-size:18px;font-variant-numeric:tabular-nums}
.provenance{margin:14px 0}
.provenance div{display:grid;grid-template-columns:170px 1fr;gap:2px 20px;padding:9px 0;border-top:1px solid var(--rule)}
.provenance dd{margin:0;overflow-wrap:anywhere;min-width:0}
.provenance code{display:block;font-size:12px;color:var(--soft)}
.scroll{overflow-x:auto;margin:8px 0;border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums;line-height:1.45}
th,td{text-align:left;padding:8px 12px 8px 0;vertical-align:top;border-bottom:1px solid var(--rule)}
thead th{font-weight:600;font-size:13px;color:var(--soft);vertical-align:bottom;border-bottom-color:var(--soft)}
tbody th{font-weight:500;min-width:128px}
.num{text-align:right;white-space:nowrap}thead .num{white-space:normal}
th.num{padding-left:8px}
td:last-child,th:last-child{padding-right:4px}
tr.emphasis th,tr.emphasis td{font-weight:650;background:var(--shade)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.plot{display:block;width:100%;height:auto;overflow:visible}
.plot text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
.plot .tick{fill:var(--soft);font-size:12px}.plot .label{fill:var(--soft);font-size:12px}
.plot .grid{stroke:var(--grid);stroke-width:1}.plot .axis{stroke:var(--soft);stroke-width:1}
.plot .level{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4}
.curve path{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.curve circle{fill:var(--card);stroke:var(--c);stroke-width:2}
.curve.dashed path{stroke-dasharray:6 5}.curve.faint path{stroke-width:1;opacity:.38}
.plot .name{fill:var(--c);font-weight:600}
.plot .bar{fill:var(--c)}.plot .hollow .bar{fill:var(--card);stroke:var(--c);stroke-width:1.5}
.plot .whisker{fill:none;stroke:var(--ink);stroke-width:1.4}
.plot .group{font-weight:600;fill:var(--soft);font-size:12px}
.plot.narrow{display:none}.small .plot.narrow{display:block}.small .legend{display:flex}
.chart.small{display:inline-block;vertical-align:top;width:calc(50% - 4px);box-sizing:border-box;padding-right:22px}
.legend{display:none;list-style:none;margin:0 0 8px;padding:0;flex-wrap:wrap;gap:2px 16px;font-size:13px;color:var(--soft)}
.legend .swatch{display:inline-block;width:20px;border-top:3px solid var(--c);vertical-align:middle;margin-right:6px}
.legend .dashed .swatch{border-top-style:dashed}.legend .faint .swatch{opacity:.45}
.rows ol{list-style:none;margin:0;padding:0}
.rows li{display:grid;grid-template-columns:180px 1fr 96px;gap:2px 16px;align-items:center;padding:7px 0;border-top:1px solid var(--rule);font-size:15px}
.rows .track{height:12px;background:var(--shade);border-radius:3px;overflow:hidden}
.rows .fill{display:block;height:100%;min-width:2px;background:var(--c2);border-radius:3px}
.rows .dropped .fill{background:var(--c1)}
.rows .dropped .row-name{padding-left:16px;color:var(--soft)}
.rows .row-value{text-align:right;font-variant-numeric:tabular-nums}
.rows .row-note{grid-column:2/4;font-size:13px;color:var(--soft)}
.rows .total{font-size:14px;color:var(--soft);margin:8px 0 0;text-align:right;max-width:none}
.prompt{border-left:3px solid var(--rule);padding-left:14px;color:var(--soft);white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;max-width:none}
.tokens{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:16px 20px 10px}
.tokens .text{white-space:pre-wrap;overflow-wrap:anywhere;line-height:2;unicode-bidi:plaintext;max-width:none;font-size:16px}
.tokens .text span{padding:3px 0;border-radius:3px}
.tokens .text i{font-style:normal;color:var(--soft)}
.k1{background:rgba(var(--heat),.08)}.k2{background:rgba(var(--heat),.16)}.k3{background:rgba(var(--heat),.27)}
.k4{background:rgba(var(--heat),.4)}.k5{background:rgba(var(--heat),.56)}.k6{background:rgba(var(--heat),.74)}
.differs{text-decoration:underline;text-decoration-style:dotted;text-decoration-thickness:2px;text-underline-offset:4px;text-decoration-color:var(--ink)}
.tokens .scale{display:flex;flex-wrap:wrap;gap:4px 3px;font-size:12px;color:var(--soft);margin:12px 0 6px;align-items:center;max-width:none}
.tokens .scale span{padding:0 7px;border-radius:3px}
.tokens .scale .k5,.tokens .scale .k6{color:var(--ink)}
details{font-size:14px;margin:4px 0}summary{cursor:pointer;color:var(--soft);padding:4px 0}
.answers>section{border-top:1px solid var(--rule);padding:16px 0 10px}
.answers .prompt{color:var(--ink);font-weight:500;margin-top:0}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:16px 22px}
.columns article{border-top:3px solid var(--c);padding-top:8px;min-width:0}
.columns h4{margin:0 0 4px;font-size:13px;font-weight:600;color:var(--c)}
.columns .text{margin:0;font-size:14.5px;line-height:1.55;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext}
.columns .note{margin:6px 0 0;font-size:12.5px}
.code pre{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 18px;overflow-x:auto}
code,pre{font:13.5px/1.55 ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
footer{color:var(--soft);font-size:13px;padding-top:30px;padding-bottom:60px}
footer p{border-top:1px solid var(--rule);padding-top:14px;max-width:none}
a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--c2);outline-offset:2px}
@media (max-width:640px){main,header,footer{padding-left:18px;padding-right:18px}header{padding-top:30px}
.verdict li{grid-template-columns:1fr;padding:14px 0}.verdict .figure{font-size:34px}
.chart.small{display:block;width:auto;padding-right:0}.plot.wide{display:none}.plot.narrow{display:block}.legend{display:flex}
.provenance div{grid-template-columns:1fr}
.rows li{grid-template-columns:1fr auto;gap:3px 12px}.rows .track{grid-column:1/3;grid-row:2}.rows .row-note{grid-column:1/3}
.tokens{padding:12px 14px 8px;margin-left:-4px;margin-right:-4px}nav{gap:4px 14px}
.scroll{margin-right:-18px;padding-right:18px}tbody th{min-width:120px}}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--rule:#ccc;--grid:#ddd}
body{font-size:11pt}nav{display:none}main,header,footer{max-width:none;padding:0}figure,.answers>section,tr,.verdict li{break-inside:avoid}
h2{break-after:avoid}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}.scroll{overflow:visible}}
)css";

const std::string_view kEmblem =
    R"svg(<svg viewBox="0 0 40 32" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><path d="M37.500 23.500C35 14.500 30.500 5.500 20.500 4.200 9.500 3 3.200 10 3.200 17.400a11 11 0 0 0 22 .6c0-3.600.6-6.400 2.600-6.200 2.600.3 5.200 7 6.800 13.200"/><path d="M4.200 19.500h20" opacity=".6"/><path d="M36.600 28.600v.3" stroke-width="3"/></svg>)svg";

}  // namespace retort::report
