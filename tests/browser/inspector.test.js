// The inspector in headless Chromium, against the real binary and a shop that does what the test says.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { ADMIN_TOKEN, WORDFENCE, openBrowser, startWorld } from "./world.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { width: 375, height: 740 };
const DESKTOP = { width: 1380, height: 860 };

let world;
let browser;
before(async () => {
  [world, browser] = await Promise.all([startWorld(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

/** A tab of a browser that nobody used before; what goes wrong in it fails the test. */
async function openTab(given = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: "en-GB", ...given });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (fault) => faults.push(String(fault)));
  page.on("console", (line) => {
    const expected = /status of 40[13]/.test(line.text());
    if (line.type() === "error" && !expected) faults.push(line.text());
  });
  const places = new Set();
  page.on("request", (request) => places.add(new URL(request.url()).origin));
  const close = async () => {
    await context.close();
    assert.deepEqual(faults, []);
    assert.deepEqual([...places], [world.admin], "it loads nothing from anywhere else");
  };
  return { page, close, faults };
}

async function signedIn(given) {
  const tab = await openTab(given);
  await tab.page.goto(`${world.admin}/inspector`);
  await tab.page.getByLabel("Admin token").fill(ADMIN_TOKEN);
  await tab.page.keyboard.press("Enter");
  await tab.page.getByRole("heading", { name: "Recent callbacks" }).waitFor();
  return tab;
}

const newId = (what) => `${what}-${randomUUID()}`;
const rows = (page, subject) => page.getByRole("region", { name: "Recent callbacks" }).getByRole("link").filter({ hasText: subject });
const detail = (page) => page.getByRole("region", { name: /^Callback \d+/ });

test("without the admin token it shows nothing, and says so", async () => {
  const session = newId("secret-session");
  await world.authorization(session);
  const { page, close } = await openTab();
  await page.goto(`${world.admin}/inspector`);
  const field = page.getByLabel("Admin token");
  await field.fill("not the token");
  await page.keyboard.press("Enter");
  await page.getByText("That is not the admin token.").waitFor();
  assert.ok(!(await page.content()).includes(session));
  await field.fill(ADMIN_TOKEN);
  await page.keyboard.press("Enter");
  await rows(page, session).waitFor();
  assert.ok(!(await page.content()).includes(ADMIN_TOKEN), "the token is not shown");
  assert.deepEqual(await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length]), ["", 0, 0]);
  await page.reload();
  await page.getByLabel("Admin token").waitFor();
  await close();
});

test("the list fills while one looks, and a record changes under one's eyes", async () => {
  const { page, close } = await signedIn();
  const session = newId("live");
  let letGo;
  world.shop.does(session, { until: new Promise((done) => (letGo = done)) });
  const answered = world.authorization(session);
  await rows(page, session).filter({ hasText: "pending" }).waitFor();
  assert.equal(await answered, 204, "kallback answers at the deadline");
  await rows(page, session).getByRole("img", { name: /204 in 1\.\d s of 2\.0 s, by kallback at the deadline/ }).waitFor();
  letGo();
  await rows(page, session).filter({ hasText: "settled" }).waitFor();
  const card = page.getByRole("article", { name: "authorization" });
  await card.getByRole("img", { name: /half within .*budget 2\.0 s/ }).waitFor();
  await close();
});

test("the detail shows attempts, joins and replays, who blocked it and what to do", async () => {
  const { page, close } = await signedIn();
  const blocked = newId("blocked");
  world.shop.does(blocked, WORDFENCE);
  await world.authorization(blocked);
  const urgent = page.getByRole("region", { name: "Needs somebody" });
  const row = urgent.getByRole("link").filter({ hasText: blocked });
  await row.filter({ hasText: "wordfence-waf" }).waitFor();
  await row.click();
  await detail(page).getByRole("note").filter({ hasText: "Wordfence" }).waitFor();
  await detail(page).getByText(/attempt 1: 403 after/).waitFor();
  await detail(page).getByText(/next attempt/).waitFor();

  const session = newId("joined");
  let letGo;
  world.shop.does(session, { until: new Promise((done) => (letGo = done)) });
  const calls = [world.authorization(session)];
  await rows(page, session).waitFor();
  calls.push(world.authorization(session));
  await rows(page, session).filter({ hasText: "1 joined" }).waitFor();
  letGo();
  await Promise.all(calls);
  await rows(page, session).filter({ hasText: "settled" }).waitFor();
  await world.authorization(session);
  await rows(page, session).filter({ hasText: "1 replayed" }).waitFor();
  await rows(page, session).click();
  const moments = detail(page).getByRole("listitem");
  await moments.filter({ hasText: "came again and joined" }).waitFor();
  await moments.filter({ hasText: "from the record of an earlier delivery" }).waitFor();
  assert.equal(await detail(page).locator("svg.timeline rect.attempt.delivered").count(), 1);
  assert.equal(await detail(page).locator("svg.timeline circle").count(), 3);
  assert.equal(world.shop.asked(session), 1);
  world.shop.does(blocked, {});
  await close();
});

test("a replay is asked back, and then replays", async () => {
  const { page, close } = await signedIn();
  const order = newId("replay");
  await world.push(order);
  await rows(page, order).filter({ hasText: "settled" }).click();
  await detail(page).getByRole("button", { name: "Replay…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("The shop took it already.").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal(world.shop.asked(order), 1);
  await detail(page).getByRole("button", { name: "Replay…" }).click();
  await dialog.getByRole("button", { name: "Replay", exact: true }).click();
  await detail(page).getByRole("status").filter({ hasText: "Ordered" }).waitFor();
  await detail(page).getByText("somebody ordered a replay").waitFor();
  await detail(page).getByText(/attempt 2: 200 after/).waitFor();
  assert.equal(world.shop.asked(order), 2);
  await close();
});

test("a dead one stands first and says that it is old", async () => {
  const { page, close } = await signedIn();
  const order = newId("dead");
  world.shop.does(order, { status: 500, body: "Fatal error" });
  await world.notification(order);
  await world.push(newId("later"));
  const urgent = page.getByRole("region", { name: "Needs somebody" });
  const row = urgent.getByRole("link").filter({ hasText: order });
  await row.filter({ hasText: "dead" }).waitFor({ timeout: 30_000 });
  await row.click();
  world.shop.does(order, {});
  await detail(page).getByRole("button", { name: "Replay…" }).click();
  await page.getByRole("dialog").getByText("It is older than").waitFor();
  await page.getByRole("button", { name: "Replay although it is old" }).click();
  await rows(page, order).filter({ hasText: "settled" }).waitFor();
  await urgent.getByRole("link").filter({ hasText: order }).waitFor({ state: "detached" });
  await close();
});

test("everything can be done with the keyboard", async () => {
  const { page, close } = await openTab();
  const order = newId("keys");
  await world.push(order);
  await page.goto(`${world.admin}/inspector`);
  await page.getByLabel("Admin token").waitFor();
  await page.keyboard.type(ADMIN_TOKEN);
  await page.keyboard.press("Enter");
  await rows(page, order).filter({ hasText: "settled" }).waitFor();
  const focused = () => page.evaluate(() => (document.activeElement === document.body ? "" : document.activeElement.textContent));
  const tabTo = async (text) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await focused()).includes(text)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not reach ${text}`);
  };
  await tabTo(order);
  await page.keyboard.press("Enter");
  await detail(page).waitFor();
  assert.match(await focused(), /^push/, "the detail's heading has the keyboard");
  await tabTo("Replay…");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo("Cancel");
  await page.keyboard.press("Escape");
  assert.equal(await focused(), "Replay…", "the dialog gives the keyboard back");
  await page.keyboard.press("Escape");
  await detail(page).waitFor({ state: "detached" });
  assert.ok((await focused()).includes(order), "so does the detail");
  await page.getByLabel("Session or order").fill(order);
  await page.keyboard.press("Enter");
  await rows(page, "secret-session").waitFor({ state: "detached" });
  assert.equal(await rows(page, "").count(), 1, "it is the only one of that order");
  await close();
});

test("axe finds nothing, light, dark and on a phone; nothing is wider than the phone", async () => {
  const session = newId("axe");
  world.shop.does(session, WORDFENCE);
  await world.authorization(session);
  for (const given of [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "light", viewport: PHONE }, { colorScheme: "dark", viewport: PHONE }]) {
    // Axe comes in past the policy; what it looks at does not.
    const { page, close } = await signedIn({ ...given, bypassCSP: true });
    const look = async (where) => {
      const found = await page.evaluate(async (axe) => {
        if (!window.axe) new Function(axe)();
        return (await window.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ").slice(0, 400)}`);
      }, AXE);
      assert.deepEqual(found, [], `${where} ${JSON.stringify(given)}`);
      const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      assert.ok(needed <= there, `${where} is ${needed} wide on ${there}`);
    };
    await look("the list");
    await page.getByRole("link").filter({ hasText: session }).first().click();
    await detail(page).getByRole("note").waitFor();
    await look("the detail");
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(ground, given.colorScheme === "dark" ? "rgb(18, 22, 20)" : "rgb(246, 247, 245)");
    await close();
  }
  world.shop.does(session, {});
});

test("the policy lets no script of the page's own text run, and no frame show it", async () => {
  const { page, close, faults } = await signedIn();
  const ran = await page.evaluate(async () => {
    const script = document.createElement("script");
    try {
      script.textContent = "window.ran = true";
    } catch {
      return "refused";
    }
    document.body.append(script);
    return window.ran ?? false;
  });
  assert.notEqual(ran, true);
  assert.ok(faults.length > 0 || ran === "refused", "the browser tells of it");
  faults.length = 0;
  await close();
});

test("a thousand callbacks: the page stays quick and keeps its bound", { timeout: 180_000 }, async () => {
  const purchases = Array.from({ length: 1_000 }, (_, number) => `many-${number}-${randomUUID()}`);
  for (let at = 0; at < purchases.length; at += 20) {
    await Promise.all(purchases.slice(at, at + 20).map((order) => world.push(order)));
  }
  const { page, close } = await signedIn();
  await rows(page, "many-999").waitFor();
  for (let pages = 1; pages < 10; pages += 1) {
    await page.getByRole("button", { name: "Older ones" }).click();
    await page.waitForFunction((count) => document.querySelectorAll("a.row").length >= count, (pages + 1) * 100);
  }
  assert.equal(await page.getByRole("button", { name: "Older ones" }).count(), 0);
  const order = newId("after");
  const began = Date.now();
  await world.push(order);
  await rows(page, order).waitFor();
  assert.ok(Date.now() - began < 10_000, "a new one shows up soon");
  const shown = await page.getByRole("region", { name: "Recent callbacks" }).getByRole("link").count();
  assert.ok(shown <= 1_000, `${shown} rows`);
  await close();
});

test("pictures for the documents", { skip: !process.env.PICTURES }, async () => {
  const own = await startWorld();
  try {
    await paint(own);
  } finally {
    await own.stop();
  }
});

async function paint(own) {
  const sessions = Array.from({ length: 9 }, () => randomUUID());
  for (const [number, session] of sessions.entries()) {
    own.shop.does(session, { until: new Promise((done) => setTimeout(done, 60 * (number % 5) * (number % 3) + 30)) });
    await own.authorization(session);
  }
  for (const order of sessions) await own.push(order);
  const [slow, blocked, dead, left] = sessions.map(() => randomUUID());
  own.shop.does(dead, { status: 500 });
  await own.notification(dead);
  own.shop.does(left, { status: 500 });
  await own.push(left);
  own.shop.does(blocked, WORDFENCE);
  own.shop.does(slow, { until: new Promise((done) => setTimeout(done, 2_600)) });
  const calls = [own.authorization(slow), new Promise((done) => setTimeout(done, 400)).then(() => own.authorization(slow))];
  await Promise.all(calls);
  await new Promise((done) => setTimeout(done, 1_500));
  await own.authorization(slow);
  await own.authorization(blocked);
  mkdirSync("../../docs/pictures", { recursive: true });
  const size = { locale: "en-GB", viewport: { width: 1280, height: 800 } };
  const light = await signInAt(own, { ...size, colorScheme: "light" });
  const urgent = light.getByRole("region", { name: "Needs somebody" }).getByRole("link");
  await urgent.filter({ hasText: dead }).filter({ hasText: "dead" }).waitFor();
  await light.screenshot({ path: "../../docs/pictures/inspector.png" });
  const dark = await signInAt(own, { ...size, colorScheme: "dark" });
  await dark.getByRole("link").filter({ hasText: blocked }).first().click();
  await detail(dark).getByText(/attempt 3/).waitFor();
  await dark.screenshot({ path: "../../docs/pictures/inspector-detail.png" });
}

async function signInAt({ admin }, given) {
  const page = await (await browser.newContext(given)).newPage();
  await page.goto(`${admin}/inspector`);
  await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
  await page.keyboard.press("Enter");
  return page;
}
