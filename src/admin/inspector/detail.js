// One callback: what became of it, its time line, who is to blame and what to do, and the replay.

import { html, useEffect, useRef, useState } from "./htm-preact-standalone.js";
import { replay } from "./gateway.js";
import { TimeLine } from "./pictures.js";
import { ANSWERS, OUTCOMES, REPLAYS, STATES, answerInWords, clock, kindInWords, span } from "./words.js";

export function Detail({ record, missing, onClose, onChange }) {
  const heading = useRef(null);
  const id = record?.id;
  // Whoever opens a callback with the keyboard goes on reading there.
  useEffect(() => heading.current?.focus(), [id]);
  if (!record) {
    return html`<section class="detail" aria-label="Callback"><p>${missing ?? "…"}</p><p><a class="close" href="#">Close</a></p></section>`;
  }
  const state = STATES[record.state];
  return html`<section class="detail" aria-label=${`Callback ${id}`} onKeyDown=${(event) => event.key === "Escape" && onClose()}>
    <header>
      <h2 tabindex="-1" ref=${heading}>${kindInWords(record.kind)} <span class="quiet">record ${id}</span></h2>
      <a class="close" href="#" aria-label="Close this callback">✕</a>
    </header>
    <p><span class=${`state ${record.state}`}><span aria-hidden="true">${state.sign}</span> ${state.text}</span> ${state.means}.</p>
    ${record.advice &&
    html`<div class="advice" role="note"><p><b>${record.blocked_by}</b> answered instead of the shop.</p><p>${record.advice}</p></div>`}
    <${Replay} key=${id} record=${record} onChange=${onChange} />
    <figure>
      <${TimeLine} record=${record} />
      <figcaption class="legend">
        <span class="key delivered">taken</span> <span class="key failed">not taken</span> <span class="key joined">joined</span> <span class="key ordered">replay ordered</span> <span class="key answer">answered</span> <span class="key again">from the record</span>
      </figcaption>
    </figure>
    <${Moments} record=${record} />
    <dl class="facts">${facts(record).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  </section>`;
}

function Moments({ record }) {
  const start = Date.parse(record.accepted_at);
  if (record.history.length === 0) {
    return html`<p class="quiet">Times of single attempts are kept in memory, for the last 1000 callbacks since kallback started. The record is what the ledger keeps.</p>`;
  }
  return html`<ol class="moments">
    <li><time>0 ms</time> <span>arrived and stored</span></li>
    ${record.history.map(
      (moment) => html`<li class=${moment.outcome ?? moment.what}>
        <time dateTime=${moment.at}>+${span(Math.max(0, Date.parse(moment.at) - start))}</time> <span>${momentInWords(moment)}</span>
      </li>`,
    )}
    ${record.due_at && html`<li class="due"><time dateTime=${record.due_at}>+${span(Date.parse(record.due_at) - start)}</time> <span>next attempt</span></li>`}
  </ol>`;
}

function momentInWords(moment) {
  switch (moment.what) {
    case "attempt": {
      const status = moment.status === null ? "" : ` ${moment.status}`;
      const why = moment.outcome === "delivered" ? "" : ` (${moment.note})`;
      return `attempt ${moment.attempt}:${status} after ${span(moment.took_ms)} – ${OUTCOMES[moment.outcome] ?? moment.outcome}${why}`;
    }
    case "joined":
      return "came again and joined the one under way";
    case "answered":
      return `a sender was answered ${moment.status} in ${span(moment.took_ms)}, ${ANSWERS[moment.by]}`;
    default:
      return "somebody ordered a replay";
  }
}

function facts(record) {
  return [
    ["session or order", record.subject ?? "none"],
    ["route", record.route],
    ["arrived", clock(record.accepted_at)],
    ["first answer", answerInWords(record)],
    ["ended", record.ended_at ? clock(record.ended_at) : "not yet"],
    ["shop's last status", record.status ?? "none"],
    ["last attempt", record.note ?? "–"],
    ["attempts", record.attempts],
    ["joined · replayed", `${record.seen.joins} · ${record.seen.replays}`],
    ["earlier records of it", record.repeats],
    ["too old from", clock(record.expires_at)],
    ["fingerprint", html`<code>${record.fingerprint.slice(0, 16)}…</code>`],
  ];
}

function Replay({ record, onChange }) {
  const dialog = useRef(null);
  const opener = useRef(null);
  const [told, setTold] = useState("");
  const [busy, setBusy] = useState(false);
  const old = record.replay === "old";
  const confirm = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await replay(record.id, old);
      setTold("Ordered. It is brought to the shop now.");
    } catch (fault) {
      setTold(`Not replayed: ${fault.message}`);
    }
    setBusy(false);
    dialog.current?.close();
    onChange();
  };
  const can = record.replay === "ready" || old;
  return html`<div class="replay">
    ${can
      ? html`<button ref=${opener} onClick=${() => dialog.current.showModal()}>Replay…</button>`
      : html`<p class="quiet">${REPLAYS[record.replay]}</p>`}
    <p role="status">${told}</p>
    <dialog ref=${dialog} aria-labelledby="replay-title" onKeyDown=${(event) => event.stopPropagation()} onClose=${() => opener.current?.focus()}>
      <form onSubmit=${confirm}>
        <h3 id="replay-title">Bring record ${record.id} to the shop again?</h3>
        <p>The shop gets this ${kindInWords(record.kind)} for <b>${record.subject ?? "its purchase"}</b> once more, marked as a redelivery.</p>
        ${record.state === "settled" && html`<p class="warning">The shop took it already. A shop that does not look may do the work twice.</p>`}
        ${old && html`<p class="warning">It is older than callbacks of its kind may become: Klarna may have moved on, and it can undo what people did by hand.</p>`}
        <div class="buttons">
          <button type="button" onClick=${() => dialog.current.close()} autofocus>Cancel</button>
          <button type="submit" class="strong" disabled=${busy}>${old ? "Replay although it is old" : "Replay"}</button>
        </div>
      </form>
    </dialog>
  </div>`;
}
