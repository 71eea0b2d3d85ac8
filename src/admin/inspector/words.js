// Numbers, times and states in words.

export function span(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

export const kindInWords = (kind) => kind.replaceAll("_", " ");

export const clock = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const STATES = {
  pending: { sign: "…", text: "pending", means: "stored; at the shop, or brought there again when it is due" },
  dead: { sign: "✕", text: "dead", means: "given up: too old, or refused for good" },
  left: { sign: "↩", text: "left", means: "left to the sender's own repeat" },
  settled: { sign: "✓", text: "settled", means: "the shop took it" },
};

export const ANSWERS = {
  shop: "with the shop's own reply",
  deadline: "by kallback at the deadline; the shop's call went on",
  replay: "from the record of an earlier delivery",
  accepted: "by kallback: stored, and brought later",
  refused: "with a refusal",
  failed: "without a reply of the shop",
};

export const OUTCOMES = {
  delivered: "the shop took it",
  failed: "the shop answered, but did not take it",
  unreached: "it did not reach the shop",
  unknown: "nobody knows whether the shop saw it",
};

export const REPLAYS = {
  pending: "It is pending: kallback brings it by itself.",
  superseded: "It cannot be replayed: the same callback came again later, as a newer record.",
  swept: "It cannot be replayed: its request is not stored any more.",
};

/** What the first answer was, and how it stood to the budget. */
export function answerInWords(record) {
  const { answered_ms: ms, answered_by: by, answered_status: status } = record.seen;
  if (ms === null) return `time of the first answer not kept; budget ${span(record.budget_ms)}`;
  const late = ms > record.budget_ms ? ", too late" : "";
  return `${status} in ${span(ms)} of ${span(record.budget_ms)}${late}, ${ANSWERS[by]}`;
}
