#include "eval/report/markup.h"

namespace pith {

// No < or &, so that the page stays XML. Series colours: after Okabe and Ito's set for every kind
// of colour vision, darkened on white and lightened on black to a contrast of 3:1 or more.
std::string_view PageStyle() {
  return R"css(:root {
  --back: #ffffff; --text: #1c2024; --soft: #5b646e; --rule: #d5dae0; --grid: #e6e9ed;
  --panel: #f5f7f9; --link: #0b5cad; --cell: #0b4f94; --on: #ffffff;
  --pruned: #b3261e; --merged: #0b5cad; --far: #fdeebd;
  --c0: #0068a8; --c1: #c84e00; --c2: #008560; --c3: #a8448a;
  --c4: #946800; --c5: #3b8fc4; --c6: #6b3fa0; --c7: #4d4d4d;
}
@media (prefers-color-scheme: dark) { :root {
  --back: #14171a; --text: #e4e7ea; --soft: #a0a8b1; --rule: #3a4149; --grid: #272c32;
  --panel: #1c2126; --link: #7db8f2; --cell: #6fb4f5; --on: #10151a;
  --pruned: #ff8a80; --merged: #7db8f2; --far: #4a3f12;
  --c0: #56b4e9; --c1: #ff8642; --c2: #2fc79a; --c3: #e58fc6;
  --c4: #e8b93c; --c5: #9ad0f5; --c6: #b897f0; --c7: #c2c7cc;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--rule); }
p { max-width: 44rem; margin: .6rem 0; overflow-wrap: break-word; }
a { color: var(--link); }
nav ol { margin: 1rem 0; padding-left: 1.4rem; }
figure { margin: 1.75rem 0; }
figcaption, caption { text-align: left; font-weight: 600; margin-bottom: .4rem; }
caption { padding-bottom: .4rem; margin: 0; }
.note { color: var(--soft); font-size: .875rem; margin-top: .5rem; }
.scroll { overflow-x: auto; background:
  linear-gradient(to left, var(--back) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--rule), transparent) right / .9rem 100% no-repeat scroll; }
.scroll + .note { margin-bottom: 1.5rem; }
table { border-collapse: separate; border-spacing: 0; font-size: .84rem; line-height: 1.4; margin: 1rem 0 .25rem;
  font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: .3rem .55rem; text-align: right; white-space: nowrap; vertical-align: bottom; }
th { font-weight: 600; border-bottom: 2px solid var(--rule); }
td { border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; padding-left: 0; position: sticky; left: 0;
  background: var(--back); }
.prose th, .prose td { text-align: left; vertical-align: top; }
.prose td { white-space: normal; overflow-wrap: break-word; }
.prose td:first-child { white-space: nowrap; }
.prose td:last-child { min-width: 22rem; }
.plot, .map { display: block; width: 100%; max-width: 46rem; min-width: 27rem; height: auto; }
svg text { fill: var(--text); font-size: 13px; font-variant-numeric: tabular-nums; }
.map text { font-size: 12px; }
svg .on { fill: var(--on); }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: var(--grid); fill: none; }
.axis { stroke: var(--soft); fill: none; }
.base { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 6 4; fill: none; }
.line { stroke: var(--c); stroke-width: 1.75; fill: none; opacity: .75; }
.bar { stroke: var(--c); stroke-width: 1.25; fill: none; opacity: .8; }
.mark { fill: var(--c); stroke: var(--back); stroke-width: 1; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.cell { fill: var(--cell); } .none { fill: var(--grid); }
path.cell, path.none { shape-rendering: crispEdges; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .3rem 0 0;
  padding: 0; font-size: .875rem; max-width: 46rem; }
.legend li { display: flex; align-items: center; gap: .45rem; }
.legend svg { width: 28px; height: 16px; flex: none; }
.scale { font-size: .8125rem; color: var(--soft); margin: .2rem 0; }
.scale svg { width: 120px; height: 12px; vertical-align: -1px; }
.tokens pre { max-width: 46rem; margin: .4rem 0; padding: .8rem 1rem; background: var(--panel);
  border: 1px solid var(--rule); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: break-word; font: inherit; line-height: 1.7; }
.fates { font-size: .875rem; color: var(--soft); word-spacing: .3em; }
del { color: var(--pruned); text-decoration: line-through; opacity: .75; }
ins { color: var(--merged); text-decoration: underline dotted; text-underline-offset: .2em; }
mark { color: inherit; background: var(--far); }
footer { margin-top: 4rem; padding-top: .75rem; border-top: 1px solid var(--rule);
  font-size: .8125rem; color: var(--soft); }
@media (max-width: 40rem) { th:first-child, td:first-child { position: static; } }
@media print { .scroll { overflow: visible; } section { break-inside: auto; } }
)css";
}

}  // namespace pith
