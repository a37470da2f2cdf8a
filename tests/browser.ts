// The page of examples/browser in Chromium, as a user works with it, and the
// small suite inside the page. Needs Chromium, and playwright-core, whose module
// NINEP_PLAYWRIGHT names:
//
//     NINEP_PLAYWRIGHT=…/playwright-core/index.mjs bun tests/browser.ts [SCREENSHOT]

import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { connect } from "../mod.ts";

/** The parts of playwright-core that are used here. */
interface Page {
  goto(url: string): Promise<unknown>;
  click(selector: string): Promise<void>;
  fill(selector: string, text: string): Promise<void>;
  textContent(selector: string): Promise<string | null>;
  inputValue(selector: string): Promise<string>;
  waitForFunction(code: string): Promise<unknown>;
  setInputFiles(
    selector: string,
    file: { name: string; mimeType: string; buffer: Uint8Array },
  ): Promise<void>;
  evaluate<T>(code: string): Promise<T>;
  screenshot(options: { path: string }): Promise<unknown>;
  on(event: "pageerror", listener: (error: Error) => void): void;
}

interface Playwright {
  chromium: {
    launch(options: object): Promise<{
      newPage(options: object): Promise<Page>;
      close(): Promise<void>;
    }>;
  };
}

const { NINEP_PLAYWRIGHT, NINEP_CHROMIUM = "chromium" } = process.env;
assert(NINEP_PLAYWRIGHT, "NINEP_PLAYWRIGHT is not set");
const { chromium }: Playwright = await import(NINEP_PLAYWRIGHT);

const PORT = "8080";
const server = spawn("bun", ["examples/browser/server.ts"], {
  env: { ...process.env, PORT },
  stdio: ["ignore", "ignore", "inherit"],
});
const errors: Error[] = [];
const origin = `http://127.0.0.1:${PORT}`;

/** Waits until the server answers. */
async function untilUp(): Promise<void> {
  for (let attempt = 0;; attempt++) {
    try {
      await (await fetch(origin)).text();
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

try {
  await untilUp();
  const browser = await chromium.launch({
    executablePath: NINEP_CHROMIUM.startsWith("/")
      ? NINEP_CHROMIUM
      : `/usr/bin/${NINEP_CHROMIUM}`,
    args: ["--no-sandbox"],
  });
  try {
    const page = await browser.newPage({
      viewport: { width: 1000, height: 720 },
    });
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(origin);
    const shows = (id: string, text: string) =>
      page.waitForFunction(
        `document.getElementById("${id}").textContent.includes("${text}")`,
      );

    // Lists, reads and writes.
    await shows("tree", "notes/today");
    await page.click("text=notes/today");
    await page.waitForFunction(
      `document.getElementById("text").value === "read the manual\\n"`,
    );
    await page.fill("#text", "written in a page\n");
    await page.fill("#path", "/notes/tomorrow");
    await page.click("#save");
    await shows("tree", "notes/tomorrow");

    // Calls a function, and follows an event file.
    await page.click("#add");
    await shows("sum", "42");
    await shows("clock", ":");
    const first = await page.textContent("#clock");
    await page.waitForFunction(
      `document.getElementById("clock").textContent !== "${first}"`,
    );

    // Serves a file to the server.
    await page.setInputFiles("#file", {
      name: "picked.txt",
      mimeType: "text/plain",
      buffer: Buffer.from("from the disk of the user\n"),
    });
    await shows("tree", "received/picked.txt");
    await using client = await connect(`ws://127.0.0.1:${PORT}/9p`);
    assertEquals(
      await client.readTextFile("notes/tomorrow"),
      "written in a page\n",
    );
    assertEquals(
      await client.readTextFile("received/picked.txt"),
      "from the disk of the user\n",
    );
    await page.click("text=received/picked.txt");
    const [, path] = process.argv.slice(1);
    if (path) await page.screenshot({ path });

    const { passed, failed } = await page.evaluate<
      { passed: string[]; failed: string[] }
    >(
      `import("/tests/edge/suite.ts").then(({ runSuite }) => runSuite())`,
    );
    assertEquals(failed, []);
    assertEquals(await page.textContent("#status"), "");
    assertEquals(errors, []);
    console.log(`browser: the page works, ${passed.length} checks inside it`);
  } finally {
    await browser.close();
  }
} finally {
  server.kill("SIGKILL");
}
