// The day's shape: for every kind how many, and how fast against the budget.

import { html } from "./htm-preact-standalone.js";
import { Hours, Percentiles } from "./pictures.js";
import { clock, kindInWords, span } from "./words.js";

export function Day({ day }) {
  if (!day) return null;
  return html`<section class="day" aria-label="The last 24 hours">
    <h2>The last 24 hours</h2>
    ${day.kinds.length === 0
      ? html`<p class="quiet">No callback has come yet.</p>`
      : html`<div class="cards">${day.kinds.map((kind) => html`<${Card} key=${kind.kind} kind=${kind} />`)}</div>`}
    <p class="quiet">Answers since ${clock(day.since)}: what was before a restart is in Prometheus. The thin line is the sender's time limit.</p>
  </section>`;
}

function Card({ kind }) {
  const told = [
    ["half", kind.p50_ms],
    ["95 %", kind.p95_ms],
    ["99 %", kind.p99_ms],
  ];
  const { failed, refused } = kind.by;
  return html`<article class="card" aria-label=${kindInWords(kind.kind)}>
    <h3>${kindInWords(kind.kind)} <span class="quiet">${kind.answered}</span></h3>
    <${Hours} hours=${kind.hours} />
    <${Percentiles} kind=${kind} />
    <dl>
      ${told.map(
        ([name, ms]) => html`<div class=${ms > kind.budget_ms ? "late" : ""}><dt>${name}</dt><dd>${ms === null ? "–" : span(ms)}</dd></div>`,
      )}
      <div><dt>budget</dt><dd>${span(kind.budget_ms)}</dd></div>
    </dl>
    ${(kind.late > 0 || failed > 0 || refused > 0) &&
    html`<p class="trouble">${[kind.late > 0 && `${kind.late} too late`, failed > 0 && `${failed} without a reply`, refused > 0 && `${refused} refused`].filter(Boolean).join(" · ")}</p>`}
  </article>`;
}
