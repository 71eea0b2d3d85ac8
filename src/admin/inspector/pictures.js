// The pictures: a time against its budget, the time line of one callback, the hours of a day.

import { html } from "./htm-preact-standalone.js";
import { span } from "./words.js";

/** One time against its budget: the budget is the line, what lies right of it came too late. */
export function Budget({ ms, budget, label }) {
  const line = 80;
  const length = ms === null ? 0 : Math.min(100, Math.max(1.5, (ms / budget) * line));
  const tone = ms > budget ? "late" : ms > budget * 0.7 ? "close" : "well";
  return html`<svg class="budget" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="ground" x="0" y="3" width="100" height="4" />
    ${ms !== null && html`<rect class=${tone} x="0" y="2" width=${length} height="6" />`}
    <rect class="limit" x=${line} y="0" width="0.8" height="10" />
  </svg>`;
}

/** Half, 95 % and 99 % against the budget. */
export function Percentiles({ kind }) {
  const place = (ms) => Math.min(99, (ms / kind.budget_ms) * 80);
  const label =
    kind.p50_ms === null
      ? "no answers"
      : `half within ${span(kind.p50_ms)}, 95 % within ${span(kind.p95_ms)}, 99 % within ${span(kind.p99_ms)}, budget ${span(kind.budget_ms)}`;
  return html`<svg class="percentiles" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="ground" x="0" y="5" width="100" height="4" />
    ${kind.p50_ms !== null &&
    html`<rect class=${kind.p99_ms > kind.budget_ms ? "late soft" : "well soft"} x="0" y="5" width=${Math.max(1, place(kind.p99_ms))} height="4" />
      <rect class=${kind.p95_ms > kind.budget_ms ? "late" : "well"} x="0" y="4" width=${Math.max(1, place(kind.p95_ms))} height="6" />
      <rect class="half" x=${place(kind.p50_ms)} y="2" width="1" height="10" />`}
    <rect class="limit" x="80" y="0" width="0.8" height="14" />
  </svg>`;
}

/** So many in each of the last 24 hours. */
export function Hours({ hours }) {
  const most = Math.max(1, ...hours);
  const label = `by hour, the last 24: ${hours.join(", ")}`;
  return html`<svg class="hours" viewBox="0 0 96 24" preserveAspectRatio="none" role="img" aria-label=${label}>
    ${hours.map((count, hour) => {
      const height = count === 0 ? 0.8 : Math.max(2, (count / most) * 23);
      return html`<rect class=${count === 0 ? "none" : "some"} x=${hour * 4} y=${24 - height} width="3" height=${height} />`;
    })}
  </svg>`;
}

const WIDTH = 640;
const MARGIN = { left: 78, right: 16 };
const LANES = { attempts: 34, others: 74, answers: 114 };
const HEIGHT = 160;
const TICKS_MS = [0, 10, 100, 1e3, 1e4, 6e4, 6e5, 36e5, 216e5, 1728e5, 2592e6];

/** Attempts at the shop, joins, replays and answers on one line of time. Later times are drawn closer together. */
export function TimeLine({ record }) {
  const start = Date.parse(record.accepted_at);
  const moments = record.history.map((moment) => ({
    ...moment,
    from: Math.max(0, Date.parse(moment.began_at) - start),
    to: Math.max(0, Date.parse(moment.at) - start),
  }));
  const last = Math.max(record.budget_ms * 1.5, ...moments.map((moment) => moment.to));
  const room = WIDTH - MARGIN.left - MARGIN.right;
  const x = (ms) => MARGIN.left + (Math.log1p(ms / 20) / Math.log1p(last / 20)) * room;
  let free = -Infinity;
  const ticks = TICKS_MS.filter((ms) => {
    const fits = ms <= last && x(ms) - free > 46 && Math.abs(x(ms) - x(record.budget_ms)) > 4;
    if (fits) free = x(ms);
    return fits;
  });
  return html`<svg class="timeline" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Time line; the list below says the same in words">
    ${Object.entries({ shop: LANES.attempts, repeats: LANES.others, answers: LANES.answers }).map(
      ([name, y]) => html`<text class="lane" x="0" y=${y + 4}>${name}</text>
        <line class="rail" x1=${MARGIN.left} x2=${WIDTH - MARGIN.right} y1=${y} y2=${y} />`,
    )}
    ${ticks.map(
      (ms) => html`<line class="tick" x1=${x(ms)} x2=${x(ms)} y1="18" y2="136" />
        <text class="tick" x=${x(ms)} y="152" text-anchor="middle">${ms === 0 ? "0" : span(ms)}</text>`,
    )}
    <line class="limit" x1=${x(record.budget_ms)} x2=${x(record.budget_ms)} y1="20" y2="136" />
    <text class="limit" x=${x(record.budget_ms)} y="14" text-anchor="middle">budget ${span(record.budget_ms)}</text>
    ${moments.map((moment, place) => html`<${Mark} moment=${moment} place=${place} x=${x} budget=${record.budget_ms} />`)}
  </svg>`;
}

function Mark({ moment, place, x, budget }) {
  const { what, from, to } = moment;
  if (what === "attempt") {
    const width = Math.max(5, x(to) - x(from));
    return html`<rect class=${`attempt ${moment.outcome}`} x=${x(from)} y=${LANES.attempts - 9} width=${width} height="18" rx="3" />`;
  }
  if (what === "answered") {
    const tone = moment.took_ms > budget ? "late" : moment.by === "replay" ? "again" : "well";
    // Senders wait at the same time: each has a line of its own.
    const y = LANES.answers + ((place % 3) - 1) * 9;
    return html`<line class="waited" x1=${x(from)} x2=${x(to)} y1=${y} y2=${y} /><circle class=${tone} cx=${x(to)} cy=${y} r="5" />`;
  }
  const y = LANES.others;
  const at = x(to);
  const shape = what === "joined" ? `M${at} ${y - 8}l7 8l-7 8l-7 -8z` : `M${at - 6} ${y - 8}l13 8l-13 8z`;
  return html`<path class=${what} d=${shape} />`;
}
