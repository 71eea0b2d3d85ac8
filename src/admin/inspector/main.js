// The page: signs in, looks every two seconds whether something happened, and shows it.

import { html, render, useCallback, useEffect, useRef, useState } from "./htm-preact-standalone.js";
import * as gateway from "./gateway.js";
import { Day } from "./day.js";
import { Detail } from "./detail.js";
import { List } from "./list.js";
import { STATES, kindInWords } from "./words.js";

const LOOK_EVERY_MS = 2_000;
// Also when nothing was told of: what waits becomes due, what is old is swept.
const READ_AGAIN_EVERY_LOOKS = 15;
const PAGE = 100;
const ROWS_MAX = 1_000;
const KINDS = ["authorization", "push", "notification", "session_status", "webhook"];

function Page() {
  const [gate, setGate] = useState("asking");
  const [fault, setFault] = useState("");
  const enter = useCallback(async () => {
    try {
      await gateway.counts();
      setGate("open");
    } catch (why) {
      const known = gate === "closed";
      setGate(why instanceof gateway.Refused ? "closed" : "broken");
      setFault(why instanceof gateway.Refused ? (known ? "That is not the admin token." : "") : why.message);
    }
  }, [gate]);
  useEffect(() => void enter(), []);
  if (gate === "open") return html`<${Inspector} onRefused=${() => setGate("closed")} />`;
  if (gate === "asking") return html`<main class="gate"><p>…</p></main>`;
  if (gate === "broken") {
    return html`<main class="gate"><h1>kallback</h1><p role="alert">${fault}</p><button onClick=${enter}>Try again</button></main>`;
  }
  return html`<${SignIn} fault=${fault} onToken=${enter} />`;
}

function SignIn({ fault, onToken }) {
  const [given, setGiven] = useState("");
  const submit = (event) => {
    event.preventDefault();
    gateway.signIn(given);
    onToken();
  };
  return html`<main class="gate">
    <h1>kallback inspector</h1>
    <form onSubmit=${submit}>
      <label for="token">Admin token</label>
      <input type="text" autocomplete="username" value="kallback" hidden readonly />
      <input id="token" type="password" autocomplete="current-password" spellcheck=${false} required autofocus value=${given} onInput=${(event) => setGiven(event.target.value)} aria-describedby="token-help" />
      <button class="strong">Open</button>
      <p role="alert">${fault}</p>
      <p class="quiet" id="token-help">The one in <code>admin.token</code>. It stays in this page's memory and is forgotten when you close or reload it.</p>
    </form>
  </main>`;
}

function Inspector({ onRefused }) {
  const [seen, setSeen] = useState({ urgent: [], recent: [], counts: null, day: null, next: null });
  const [filter, setFilter] = useState({});
  const [older, setOlder] = useState([]);
  const [trouble, setTrouble] = useState("");
  const [chosen, setChosen] = useState(fromHash());
  const [record, setRecord] = useState(null);
  const [missing, setMissing] = useState(null);
  const opened = useRef(null);

  const catching = useCallback(async (work) => {
    try {
      await work();
      setTrouble("");
    } catch (why) {
      if (why instanceof gateway.Refused) onRefused();
      else setTrouble(why.message);
    }
  }, []);

  const read = useCallback(async () => {
    const day = await gateway.day();
    const [pending, dead, all, counts] = await Promise.all([
      gateway.list({ limit: PAGE, state: "pending" }),
      gateway.list({ limit: PAGE, state: "dead" }),
      gateway.list({ limit: PAGE, ...filter }),
      gateway.counts(),
    ]);
    const urgent = [...dead.callbacks, ...pending.callbacks].sort((a, b) => b.id - a.id);
    setSeen({ urgent, recent: all.callbacks, next: all.next, counts, day });
    return day.changes;
  }, [filter]);

  const readOne = useCallback(async () => {
    if (chosen === null) return setRecord(null);
    try {
      setRecord(await gateway.show(chosen));
      setMissing(null);
    } catch (why) {
      if (why instanceof gateway.Refused) throw why;
      setRecord(null);
      setMissing(why.message);
    }
  }, [chosen]);

  useLooks(catching, read, readOne);
  useEffect(() => void catching(readOne), [readOne]);
  useEffect(() => {
    const follow = () => setChosen(fromHash());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  // Closing gives the keyboard back to the row that was opened.
  useEffect(() => {
    if (chosen !== null) opened.current = chosen;
    else if (opened.current !== null) document.querySelector(`a.row[href="#${opened.current}"]`)?.focus();
  }, [chosen]);

  const choose = (change) => {
    const wish = { ...filter, ...change };
    for (const name of Object.keys(wish)) if (!wish[name]) delete wish[name];
    setOlder([]);
    setFilter(wish);
  };
  const rows = merged(seen.recent, older);
  const next = older.length > 0 ? older.next : seen.next;
  const more = () =>
    catching(async () => {
      const page = await gateway.list({ limit: PAGE, ...filter, before: next });
      const all = [...older, ...page.callbacks];
      setOlder(Object.assign(all, { next: page.next }));
    });
  const now = seen.day ? Date.parse(seen.day.now) : Date.now();
  return html`<${Top} counts=${seen.counts} trouble=${trouble} version=${seen.day?.version} />
    <main class=${chosen === null ? "" : "with-detail"}>
      <div class="column">
        <${List} title="Needs somebody" empty="Nothing is pending or dead." records=${seen.urgent} chosen=${chosen} now=${now} />
        <${Day} day=${seen.day} />
        <${Filter} filter=${filter} onChoose=${choose} />
        <${List} title="Recent callbacks" empty="No callback fits." records=${rows} chosen=${chosen} now=${now} />
        ${next !== null && rows.length < ROWS_MAX && html`<button onClick=${more}>Older ones</button>`}
        ${rows.length >= ROWS_MAX && html`<p class="quiet">The page ends here. Narrow it down, or ask <code>GET /callbacks</code>.</p>`}
      </div>
      ${chosen !== null &&
      html`<${Detail} record=${record?.id === chosen ? record : null} missing=${missing} onClose=${() => (location.hash = "")} onChange=${() => catching(readOne)} />`}
    </main>`;
}

/** Looks whether something happened, and reads again if so. Not while nobody can see it. */
function useLooks(catching, read, readOne) {
  useEffect(() => {
    let [changes, settling, looks, over, timer] = [null, false, 0, false, 0];
    const look = async () => {
      if (!document.hidden) {
        await catching(async () => {
          looks += 1;
          const now = changes === null ? null : (await gateway.day()).changes;
          // The ledger writes after it was told of: what changed is read a second time.
          const isNew = now === null || now !== changes;
          if (isNew || settling || looks % READ_AGAIN_EVERY_LOOKS === 0) {
            settling = isNew;
            changes = await read();
            await readOne();
          }
        });
      }
      if (!over) timer = setTimeout(look, LOOK_EVERY_MS);
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [read, readOne]);
}

function Top({ counts, trouble, version }) {
  const told = counts ? ["pending", "dead", "left", "settled"].map((state) => [state, counts[state]]) : [];
  return html`<header class="top">
    <h1>kallback <span class="quiet">${version}</span></h1>
    <ul class="counts" aria-label="Callbacks by state">
      ${told.map(([state, count]) => html`<li><span class=${`state ${state} ${count === 0 ? "none" : ""}`}><span aria-hidden="true">${STATES[state].sign}</span> ${count} ${state}</span></li>`)}
    </ul>
    <p class="trouble" role="alert">${trouble}</p>
  </header>`;
}

function Filter({ filter, onChoose }) {
  const select = (name, label, values) =>
    html`<label>${label} <select value=${filter[name] ?? ""} onChange=${(event) => onChoose({ [name]: event.target.value })}>
      <option value="">all</option>
      ${values.map((value) => html`<option value=${value}>${kindInWords(value)}</option>`)}
    </select></label>`;
  const find = (event) => {
    event.preventDefault();
    onChoose({ subject: event.target.elements.subject.value.trim() });
  };
  return html`<form class="filter" role="search" onSubmit=${find}>
    ${select("state", "State", Object.keys(STATES))} ${select("kind", "Kind", KINDS)}
    <label>Session or order <input name="subject" type="search" spellcheck=${false} placeholder="the whole id" /></label>
    <button>Find</button>
  </form>`;
}

function merged(recent, older) {
  const known = new Set(recent.map((record) => record.id));
  return [...recent, ...older.filter((record) => !known.has(record.id))].slice(0, ROWS_MAX);
}

function fromHash() {
  const id = Number(location.hash.slice(1));
  return Number.isSafeInteger(id) && id > 0 ? id : null;
}

render(html`<${Page} />`, document.getElementById("page"));
