// The gateway as the page sees it: the guarded routes of the admin listener, asked with the token that was typed in.

// In this page's memory only: never stored, never in a URL, gone with the page.
let token = "";

export class Refused extends Error {}

export const signIn = (given) => {
  token = given;
};

export const list = (filter) => ask(`/callbacks?${new URLSearchParams(filter)}`);
export const show = (id) => ask(`/callbacks/${id}`);
export const counts = () => ask("/counts");
export const day = () => ask("/day");

export const replay = (id, evenIfOld) =>
  ask(`/callbacks/${id}/replay`, { method: "POST", body: JSON.stringify(evenIfOld ? { even_if_old: true } : {}) });

const ANSWER_WITHIN_MS = 10_000;

async function ask(path, request = {}) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const bounds = { signal: AbortSignal.timeout(ANSWER_WITHIN_MS), cache: "no-store", redirect: "error" };
  let answer;
  try {
    answer = await fetch(path, { ...request, ...bounds, headers });
  } catch {
    throw new Error("kallback does not answer");
  }
  if (answer.status === 401) throw new Refused("the admin token is needed");
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `kallback answered ${answer.status}`);
  return told;
}
