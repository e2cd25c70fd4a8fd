// A person adds a passkey and signs in with it, on a device that the browser plays.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import { World } from "./world.mjs";

const w = new World();
before(() => w.server({ named: true }));
after(() => w.end());

// Browsers refuse passkeys where they do not trust the certificate: they are told its key.
async function pinned() {
  const { hostname, port } = new URL(w.url);
  const socket = connect({ host: hostname, port, rejectUnauthorized: false });
  await new Promise((done, fail) => { socket.once("secureConnect", done); socket.once("error", fail); });
  const key = new X509Certificate(socket.getPeerCertificate(true).raw).publicKey.export({ type: "spki", format: "der" });
  socket.destroy();
  return createHash("sha256").update(key).digest("base64");
}

test("a passkey signs a person in", async () => {
  await w.browser([`--ignore-certificate-errors-spki-list=${await pinned()}`]);
  const first = w.run("fpctl", ["account", "add", "ada.berg", "--roles", "analyst"]).trim();
  const own = "a better one than that";
  const context = await w.chromium.newContext();
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  await cdp.send("WebAuthn.addVirtualAuthenticator", { options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } });
  await page.goto(w.url + "/login");
  await page.fill("#name", "ada.berg");
  await page.fill("#password", first);
  await page.click("button:text-is('Sign in')");
  await page.waitForURL("**/account");
  await page.fill("#password", first);
  await page.fill("#fresh", own);
  await page.fill("#again", own);
  await page.click("text=Change the password");
  await page.waitForURL(w.url + "/");
  await page.goto(w.url + "/account");
  await page.fill("#device", "blue key");
  await page.fill("#proof", "a wrong one");
  await page.click("text=Add a passkey");
  const note = page.locator("form[data-create] [role=alert]");
  await note.waitFor();
  assert.match(await note.textContent(), /another one/);
  await page.fill("#proof", own);
  await page.click("text=Add a passkey");
  await page.locator("td", { hasText: "blue key" }).waitFor();
  await page.click("text=Sign out");
  await page.waitForURL("**/login");
  await page.click("text=Sign in with a passkey");
  await page.waitForURL(w.url + "/");
  await page.goto(w.url + "/account");
  assert.match(await page.textContent("main"), /ada\.berg/);
  await context.close();
});
