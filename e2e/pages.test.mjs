// Every page over the made-up fortnight: accessible (axe, WCAG 2.2 AA) in light and
// dark, whole at 375 px and on a wall screen, without a fault in the browser.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { World, shots } from "./world.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const w = new World();
let paths;

before(async () => {
  await w.server({ demo: true });
  await w.browser();
  w.run("fpctl", ["account", "add", "ada.berg", "--roles", "analyst,approver"]);
  const page = await w.visitor();
  const first = async (list, selector) => {
    await page.goto(w.url + list);
    return page.locator(selector).first().getAttribute("href");
  };
  const row = "table.rows tbody a";
  paths = { login: "/login", overview: "/", alerts: "/alerts", "alerts-none": "/alerts?host=nowhere", alert: await first("/alerts?verdict=QUANTISED&state=all", row), hits: "/hits", hit: await first("/hits?verdict=DERIVED", row),
    search: "/search?q=ws-", models: "/models", model: "/models/borealis-embed", inventory: "/inventory", agents: "/agents", agent: await first("/agents?show=faults", row), "agent-cloned": await first("/agents?show=cloned", row),
    sweeps: "/sweeps", sweep: await first("/sweeps", row), policies: "/policies", policy: "/policies/workstations", audit: "/audit", "audit-entry": "/audit/12", settings: "/settings", person: await first("/settings", "table a[href^='/settings/accounts/']"), account: "/account", missing: "/nothing-here" };
  Object.assign(paths, { cases: "/cases", "cases-none": "/cases?q=nothing-of-the-kind", case: await first("/cases?phase=contain", row), "case-closed": await first("/cases?state=closed", row), "case-new": "/cases/new", kpis: "/kpis" });
  paths["case-report"] = paths.case + "/report";
  await page.context().close();
});
after(() => w.end());

const sizes = { phone: [375, 800], desk: [1440, 1000], wall: [2560, 1440] };

for (const theme of ["light", "dark"]) {
  for (const size of ["desk", "phone"]) {
    test(`accessible: ${theme}, ${size}`, async () => {
      const page = await w.visitor({ theme, width: sizes[size][0], height: sizes[size][1] });
      const found = [];
      for (const [name, path] of Object.entries(paths)) {
        if (name === "login") continue;
        await page.goto(w.url + path);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
        for (const v of violations) found.push(`${name}: ${v.id} (${v.impact}): ${v.nodes.length} × ${v.nodes[0].html.slice(0, 160)} | ${v.nodes[0].failureSummary.replace(/\s+/g, " ").slice(0, 200)}`);
      }
      await page.context().close();
      assert.deepEqual(found, []);
    });
  }
}

for (const [size, [width, height]] of Object.entries(sizes)) {
  test(`whole at ${width} px`, async () => {
    const page = await w.visitor({ theme: size === "wall" ? "dark" : "light", width, height });
    const wrong = [];
    for (const [name, path] of Object.entries(paths)) {
      await page.goto(w.url + path);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (over > 0) wrong.push(`${name}: ${over} px wider than the screen`);
      await page.screenshot({ path: join(shots, `${name}-${size}.png`), fullPage: size !== "wall" });
    }
    const faults = page.faults.filter((f) => !f.includes("404")); // of the page that is missing on purpose
    await page.context().close();
    assert.deepEqual([...wrong, ...faults], []);
  });
}

test("dark screenshots", async () => {
  const page = await w.visitor({ theme: "dark" });
  for (const [name, path] of Object.entries(paths)) {
    await page.goto(w.url + path);
    await page.screenshot({ path: join(shots, `${name}-desk-dark.png`), fullPage: true });
  }
  await page.context().close();
});

test("the sign-in page is accessible", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const context = await w.chromium.newContext({ ignoreHTTPSErrors: true, colorScheme });
    const page = await context.newPage();
    await page.goto(w.url + "/login");
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run());
    await context.close();
    assert.deepEqual(violations.map((v) => v.id), []);
  }
});
