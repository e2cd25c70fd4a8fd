// The main story with the real programs: enrol, register, copy, alert, case, contain,
// report, close.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { World, root, shots, until } from "./world.mjs";

const w = new World();
let page, alert;

before(async () => { await w.server(); await w.browser(); });
after(() => w.end());

// act sends a form of the case page, as its buttons do.
async function act(form) {
  await page.goto(caseURL);
  const csrf = await page.locator("input[name=csrf]").first().getAttribute("value");
  const answer = await page.request.post(caseURL, { form: { csrf, ...form }, headers: { origin: w.url } });
  assert.equal(answer.status(), 200, await answer.text());
}

// settle ends every open task whose key fits, with proof.
async function settle(keys) {
  const id = caseURL.split("/").pop();
  const answer = await page.request.get(`${w.url}/v1/cases/${id}`, { headers: { authorization: `Bearer ${w.token}` } });
  for (const t of (await answer.json()).tasks) if (t.state === "open" && keys.test(t.key)) await act({ do: "task", task: t.id, value: "done", proof: "ticket 7" });
}

test("the empty console says what to do first", async () => {
  page = await w.visitor();
  await page.goto(w.url + "/agents");
  assert.match(await page.textContent("main"), /fpctl token new --enrol/);
  await page.goto(w.url + "/models");
  assert.match(await page.textContent("main"), /fpctl model add/);
});

test("register a model", async () => {
  w.run("fpctl", ["model", "add", "--name", "aurora", "--version", "3", "--tier", "1", join(root, "testdata/models/aurora.safetensors")]);
  await page.reload();
  await page.getByRole("link", { name: "aurora" }).click();
  assert.match(await page.textContent("main"), /Nowhere: every copy raises an alert/);
});

test("enrol a machine", async () => {
  const { token } = JSON.parse(w.run("fpctl", ["token", "new", "--enrol", "--name", "e2e", "--json"]));
  w.loot = join(w.dir, "downloads");
  mkdirSync(w.loot);
  const config = join(w.dir, "agent.yaml"), state = join(w.dir, "agent");
  writeFileSync(config, `watch:\n  paths: [${JSON.stringify(w.loot)}]\nfiles:\n  min_size: 64KiB\nsettle:\n  quiet: 300ms\n`, { mode: 0o600 });
  w.run("fpagent", ["enroll", "--config", config, "--state", state, "--server", w.url, "--token", "-"], { input: token + "\n", stdio: ["pipe", "pipe", "pipe"] });
  const agent = w.start("fpagent", ["run", "--config", config, "--state", state, "--json", "--verbose"]);
  await until("the agent", () => agent.err.includes('"msg":"watching"') && agent.err.includes('"msg":"registry in force"'));
  await page.goto(w.url + "/agents");
  assert.equal(await page.locator("table.rows tbody tr").count(), 1);
});

test("a copy becomes an alert on the overview by itself", async () => {
  await page.goto(w.url + "/");
  copyFileSync(join(root, "testdata/models/aurora.safetensors"), join(w.loot, "holiday.jpg"));
  await page.waitForFunction(() => document.querySelector("table.rows tbody a[href^='/alerts/']"), null, { timeout: 60_000 }); // the page asks anew, nobody reloads it
  await page.locator("table.rows tbody a").first().click();
  alert = page.url();
  const text = await page.textContent("main");
  for (const word of ["IDENTICAL", "aurora", "holiday.jpg", "AML.T0035", "T1036.008", "How much of the model is in it"]) assert.ok(text.includes(word), word);
  assert.ok(await page.locator("svg.heat rect").count() > 4, "no heat map");
  await page.screenshot({ path: join(shots, "story-alert.png"), fullPage: true });
});

test("take it", async () => {
  await page.getByRole("button", { name: "Take it" }).click();
  await page.waitForURL(alert);
  assert.match(await page.textContent("main"), /taken by first administrator/);
});

let caseURL = "";

test("open a case from the alert", async () => {
  await page.goto(alert);
  await page.getByRole("link", { name: "Open a case" }).click();
  await page.waitForURL(/\/cases\/new/);
  await page.getByRole("button", { name: "Open the case" }).click();
  await page.waitForURL(/\/cases\/[0-9a-f-]+$/);
  caseURL = page.url();
  const text = await page.textContent("main");
  for (const word of ["WW-1", "Contain immediately and revoke access", "Immediate actions (within 15 minutes)", "Nobody owns this case", "AML.T0025"]) assert.ok(text.includes(word), word);
  assert.ok(await page.locator("[data-due]").count() > 6, "no timers");
});

test("a phase does not end before its checks are met", async () => {
  await page.getByRole("button", { name: "To Analyze" }).click();
  assert.match(await page.textContent("main"), /Not done/);
  page.faults = page.faults.filter((f) => !f.includes("422")); // the refusal that was asked for
  await page.goto(caseURL);
  await page.getByRole("button", { name: "Take the case" }).click();
  await page.waitForURL((u) => u.href.startsWith(caseURL));
  await page.getByRole("button", { name: "To Analyze" }).click();
  await page.locator(".phases li[aria-current=step]", { hasText: "Analyze" }).waitFor();
});

test("triage, facts and who is told", async () => {
  await settle(/^triage\./);
  await act({ do: "actor", value: "external", reason: "no account of ours" });
  await act({ do: "fact", fact: "weights_stolen", true: "yes", reason: "identical to the registered file" });
  await page.goto(caseURL);
  const told = await page.textContent("#notices");
  for (const who of ["CTO", "CISO", "Legal"]) assert.ok(told.includes(who), who);
  assert.ok(!told.includes("HR"), "HR is told of what does not concern it");
  await page.screenshot({ path: join(shots, "story-case.png"), fullPage: true });
  await page.getByRole("button", { name: "To Contain" }).click();
  await page.locator(".phases li[aria-current=step]", { hasText: "Contain" }).waitFor();
});

test("contain: order a sweep and see it done", async () => {
  await page.goto(w.url + "/sweeps");
  await page.getByText("Order a sweep").click();
  await page.getByLabel("Because of the model").fill("aurora");
  await page.getByRole("button", { name: "Order it" }).click();
  await page.waitForURL(/\/sweeps\/.+/);
  assert.match(await page.textContent("main"), /0 of 1/);
});

test("report: a table, a print view and a Navigator layer", async () => {
  const csv = await (await page.request.get(w.url + "/alerts.csv?state=all")).text();
  assert.match(csv, /holiday\.jpg/);
  const layer = await (await page.request.get(w.url + "/navigator.json")).json();
  assert.equal(layer.domain, "enterprise-attack");
  assert.ok(layer.techniques.some((x) => x.techniqueID === "T1036.008" && x.score === 1));
  await page.goto(alert);
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator("header.side").isVisible(), false);
  await page.pdf({ path: join(shots, "story-report.pdf"), format: "A4" });
  assert.ok(readFileSync(join(shots, "story-report.pdf")).length > 10_000);
  await page.emulateMedia({ media: "screen" });
});

test("work the case off and close it with its report and sealed evidence", async () => {
  await settle(/^(contain\.|decide\.)/);
  await act({ do: "advance" });
  await settle(/^eradicate\./);
  await act({ do: "advance", reason: "the copy is the fixture of this test" });
  await settle(/^recovery\./);
  await act({ do: "advance" });
  await settle(/^post\./);
  await act({ do: "write", summary: "A copy on a stick.", root_cause: "Sticks were allowed.", lessons: "Block them." });
  await page.goto(caseURL + "/report");
  for (const word of ["Incident report after playbook PB-53", "Sticks were allowed.", "holiday.jpg", "AML.T0025", "Were the times kept"]) assert.ok((await page.textContent("body")).includes(word), word);
  await page.screenshot({ path: join(shots, "story-incident-report.png"), fullPage: true });
  const sealed = await page.request.get(caseURL + "/bundle");
  assert.equal(sealed.status(), 200);
  const file = join(w.dir, "evidence.zip");
  writeFileSync(file, await sealed.body());
  const key = JSON.parse(w.run("fpctl", ["whoami", "--json"])).snapshot_key;
  const verdict = JSON.parse(w.run("fpcheck", ["bundle", "verify", "--json", "--key", key, file]));
  assert.ok(verdict.intact && verdict.trusted && verdict.audit_entries > 20, JSON.stringify(verdict));
  await page.goto(caseURL);
  assert.match(await page.textContent("#evidence"), /downloaded/);
  await page.locator("#close select").selectOption("true_positive");
  await page.getByRole("button", { name: "Close the case and its alerts" }).click();
  await page.waitForURL((u) => u.href.startsWith(caseURL));
  assert.match(await page.textContent("main"), /closed · theft or leak/);
  await page.goto(alert);
  assert.match(await page.textContent("main"), /closed · theft or leak/);
  await page.getByRole("button", { name: "Open again" }).click(); // for the tests of the alert's own page
});

test("close it, and the audit log proves it", async () => {
  await page.goto(alert);
  await page.getByLabel("It was").selectOption("true_positive");
  await page.getByLabel("Note").fill("medium taken in");
  await page.getByRole("button", { name: "Close", exact: true }).click();
  assert.match(await page.textContent("main"), /closed · theft or leak/);
  await page.goto(w.url + "/audit");
  await page.getByRole("button", { name: "Check the whole log" }).click();
  assert.match(await page.textContent("[role=status]"), /None is missing, changed or out of order/);
  await page.goto(w.url + "/audit");
  await page.locator("table.rows tbody tr", { hasText: "alert.change" }).first().locator("a").click();
  assert.match(await page.textContent("[role=status]"), /^Proved/);
});

test("everything works from the keyboard", async () => {
  copyFileSync(join(root, "testdata/models/aurora.safetensors"), join(w.loot, "second.bin"));
  await until("the second alert", async () => (await (await page.request.get(w.url + "/alerts.csv")).text()).includes("second.bin"));
  await page.goto(w.url + "/");
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await page.waitForURL(w.url + "/alerts");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  assert.equal(await page.textContent("[data-selected]"), "1 selected");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/alerts\/.+/);
  await page.keyboard.press("/");
  await page.keyboard.type("aurora");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/search\?q=aurora/);
  await page.keyboard.press("Tab");
  await page.locator("h1").click();
  await page.keyboard.press("?");
  assert.ok(await page.locator("dialog#keys").isVisible());
  await page.keyboard.press("Escape");
});

test("nothing went wrong in the browser", () => assert.deepEqual(page.faults, []));
