// The list: what needs somebody first, then what came, the newest first.

import { html } from "./htm-preact-standalone.js";
import { Budget } from "./pictures.js";
import { STATES, answerInWords, kindInWords, span } from "./words.js";

export function List({ title, empty, records, chosen, now }) {
  return html`<section class="list" aria-label=${title}>
    <h2>${title} <span class="quiet">${records.length || ""}</span></h2>
    ${records.length === 0
      ? html`<p class="quiet">${empty}</p>`
      : html`<ul>
          ${records.map(
            (record) => html`<${Row} key=${record.id} record=${record} chosen=${record.id === chosen} now=${now} />`,
          )}
        </ul>`}
  </section>`;
}

function Row({ record, chosen, now }) {
  const { joins, replays } = record.seen;
  const state = STATES[record.state];
  const age = span(Math.max(0, now - Date.parse(record.accepted_at)));
  return html`<li>
    <a class="row" href=${`#${record.id}`} aria-current=${chosen ? "true" : null}>
      <span class=${`state ${record.state}`}><span aria-hidden="true">${state.sign}</span> ${state.text}</span>
      <span class="who"><b>${kindInWords(record.kind)}</b> <span class="subject">${record.subject ?? `record ${record.id}`}</span></span>
      <span class="picture"><${Budget} ms=${record.seen.answered_ms} budget=${record.budget_ms} label=${answerInWords(record)} />
        <span class="time" aria-hidden="true">${record.seen.answered_ms === null ? "–" : span(record.seen.answered_ms)}<span class="quiet"> / ${span(record.budget_ms)}</span></span></span>
      <span class="what">${whatHappened(record)}
        ${record.attempts > 1 && html`<span class="badge">${record.attempts} attempts</span>`}
        ${joins > 0 && html`<span class="badge">${joins} joined</span>`}
        ${replays > 0 && html`<span class="badge">${replays} replayed</span>`}
        ${record.repeats > 0 && html`<span class="badge">repeat ${record.repeats}</span>`}
      </span>
      <span class="age quiet">${age} ago</span>
    </a>
  </li>`;
}

function whatHappened(record) {
  if (record.blocked_by) return html`<span class="culprit">${record.blocked_by}</span>`;
  if (record.state === "settled") return html`<span class="quiet">shop: ${record.status ?? "–"}</span>`;
  return html`<span>${record.note ?? "on its way"}</span>`;
}
