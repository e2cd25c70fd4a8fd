// The programs of bin/ and a browser, all on this machine, for tests.
import { chromium } from "playwright-core";
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "..");
export const shots = join(root, "e2e", "shots");
const bin = (name) => join(root, "bin", name);

// until polls: a second is long for a server and short for a loaded machine.
export async function until(what, ask, patience = 60_000) {
  const end = Date.now() + patience;
  for (;;) {
    const got = await ask();
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited ${patience / 1000} s in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 200));
  }
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => probe.once("listening", done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

export class World {
  dir = mkdtempSync(join(tmpdir(), "weightwarden-e2e-"));
  running = [];

  run(name, args, options = {}) {
    return execFileSync(bin(name), args, { encoding: "utf8", env: { ...process.env, ...this.env }, ...options });
  }

  start(name, args) {
    const child = spawn(bin(name), args, { stdio: ["ignore", "pipe", "pipe"] });
    const p = { child, out: "", err: "", ended: new Promise((done) => child.on("exit", done)) };
    child.stdout.on("data", (b) => { p.out += b; });
    child.stderr.on("data", (b) => { p.err += b; });
    this.running.push(p);
    return p;
  }

  // named: under a name, which passkeys are bound to, and a port that is known before.
  async server({ demo = false, named = false } = {}) {
    this.data = join(this.dir, "server");
    if (demo) this.run("fpserver", ["demo-data", "--data", this.data]);
    const port = named ? await freePort() : 0;
    const p = this.start("fpserver", ["serve", "--data", this.data, "--listen", `127.0.0.1:${port}`, ...(named ? ["--url", `https://localhost:${port}`] : [])]);
    this.url = await until("the server", () => p.out.match(/listening on (https:\S+)/)?.[1]);
    if (named) this.url = `https://localhost:${port}`;
    this.token = readFileSync(join(this.data, "admin-token"), "utf8").trim();
    this.env = { WEIGHTWARDEN_SERVER: this.url, WEIGHTWARDEN_CA: join(this.data, "ca.pem"), WEIGHTWARDEN_TOKEN: this.token };
  }

  async browser(args = []) {
    this.chromium = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage", ...args] });
    mkdirSync(shots, { recursive: true });
  }

  // visitor is a signed-in page; what goes wrong in it is in page.faults.
  async visitor({ theme = "light", width = 1440, height = 1000 } = {}) {
    const context = await this.chromium.newContext({ ignoreHTTPSErrors: true, colorScheme: theme, viewport: { width, height }, reducedMotion: "reduce" });
    const page = await context.newPage();
    page.faults = [];
    page.on("pageerror", (e) => page.faults.push(`script: ${e.message}`));
    page.on("console", (m) => { if (m.type() === "error") page.faults.push(`console: ${m.text()}`); });
    page.on("request", (r) => { if (!r.url().startsWith(this.url) && !r.url().startsWith("data:")) page.faults.push(`asked elsewhere: ${r.url()}`); });
    await page.goto(this.url + "/login");
    await page.getByText("Sign in with an API token").click();
    await page.getByLabel("API token").fill(this.token);
    await page.getByRole("button", { name: "Sign in with the token" }).click();
    await page.waitForURL((u) => u.pathname !== "/login");
    return page;
  }

  async end() {
    await this.chromium?.close();
    for (const p of this.running) {
      p.child.kill("SIGTERM");
      const late = setTimeout(() => p.child.kill("SIGKILL"), 10_000);
      await p.ended;
      clearTimeout(late);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
