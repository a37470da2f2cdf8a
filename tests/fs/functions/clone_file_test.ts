// Clone files: an open makes a job, and the fid then stands for a file of the
// job. A job is released with its last fid.
import { assert, assertEquals } from "@std/assert";
import { connect } from "../../../client.ts";
import { NinePError, ORDWR, OREAD } from "../../../codec.ts";
import {
  type DirHooks,
  HookDir,
  MemoryFs,
  mount,
  readonly,
  subtree,
  union,
} from "../../../fs/mod.ts";
import { serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import { Gate, nextTask } from "../../server/toy.ts";
import { refused, ServedTree, textOf } from "../tree_client.ts";

/** A tree with /jobs, and the jobs that there are. */
class Jobs {
  readonly jobs = new Map<string, DirHooks>();
  readonly fs = new MemoryFs();
  readonly served = new ServedTree(this.fs);
  made = 0;

  constructor() {
    this.fs.define("jobs", {
      lookup: (name) => this.jobs.get(name),
      list: () => this.jobs.keys(),
    });
    this.fs.define("jobs/clone", { clone: () => `${this.make()}/ctl` });
  }

  make(): string {
    const name = `${++this.made}`;
    let data = "";
    this.jobs.set(name, {
      members: {
        ctl: {
          content: () => name,
          written: (bytes) => void (data = textOf(bytes)),
        },
        data: { content: () => data },
      },
      release: () => void this.jobs.delete(name),
    });
    return name;
  }
}

test("clone file: its open makes a job, which lives as long as a fid is in it", async () => {
  const { fs, jobs, served } = new Jobs();
  await using _served = served;
  const client = await served.client();
  const ctl = await client.open("jobs/clone", ORDWR);
  assertEquals(await client.text(ctl), "1");
  assertEquals((await client.stat(ctl)).name, "ctl");
  const other = await served.client("rob");
  const data = await other.walk("jobs/1/data");
  await client.write(ctl, "run");
  await client.clunk(ctl);
  assertEquals(jobs.size, 1);
  await other.ask({ type: "Topen", fid: data, mode: OREAD });
  assertEquals(await other.text(data), "run");
  assertEquals(await other.list(await other.open("jobs")), ["clone", "1"]);
  const dir = await other.walk("jobs/1");
  await other.clunk(data);
  assertEquals(jobs.size, 1);
  await other.clunk(dir);
  assertEquals(jobs.size, 0);
  await refused("incomplete walk", other.walk("jobs/1"));
  assert(fs.find("jobs") instanceof HookDir);
  assertEquals(served.reports, []);
});

test("clone file: `..` leads from a directory of a job to the one of all jobs, and back", async () => {
  const { jobs, served } = new Jobs();
  await using _served = served;
  const client = await served.client();
  const ctl = await client.open("jobs/clone", ORDWR);
  const job = await client.walk("jobs/1");
  await client.clunk(ctl);
  const up = await client.walk("..", job);
  assertEquals((await client.stat(up)).name, "jobs");
  const down = await client.walk("1/../1", up);
  await client.clunk(job);
  assertEquals(jobs.size, 1);
  assertEquals((await client.stat(down)).name, "1");
  await client.clunk(down);
  assertEquals(jobs.size, 0);
});

test("clone file: gives a directory, which the fid then lists", async () => {
  const { fs, jobs, served } = new Jobs();
  fs.define("jobs/new", { clone: () => "2" });
  await using _served = served;
  const client = await served.client();
  const ctl = await client.open("jobs/clone", ORDWR);
  const ctl2 = await client.open("jobs/clone", ORDWR);
  const dir = await client.open("jobs/new");
  await client.clunk(ctl);
  await client.clunk(ctl2);
  assertEquals([...jobs.keys()], ["2"]);
  assertEquals(await client.list(dir), ["ctl", "data"]);
  await client.clunk(dir);
  assertEquals(jobs.size, 0);
});

test("clone file: 1,000 jobs are released when their connections die", async () => {
  const { jobs, served } = new Jobs();
  await using _served = served;
  for (let i = 0; i < 10; i++) {
    const client = await served.client();
    const opens = [];
    for (let j = 0; j < 100; j++) opens.push(client.open("jobs/clone", ORDWR));
    await Promise.all(opens);
  }
  assertEquals(jobs.size, 1000);
  await served[Symbol.asyncDispose]();
  assertEquals(jobs.size, 0);
  assertEquals(served.reports, []);
});

test("clone file: a job that is made after its client has gone is released", async () => {
  const released: string[] = [];
  const gate = new Gate();
  const fs = new MemoryFs();
  const job: DirHooks = {
    members: { ctl: { content: () => "1" } },
    release: () => void released.push("1"),
  };
  fs.define("d", { lookup: (name) => name === "1" ? job : undefined });
  const begun = new Gate();
  fs.define("d/clone", {
    clone: async () => {
      begun.open();
      await gate.passed;
      return "1/ctl";
    },
  });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.walk("d/clone");
  client.send({ type: "Topen", fid, mode: OREAD });
  await begun.passed;
  client.close();
  gate.open();
  await served[Symbol.asyncDispose]();
  for (let i = 0; i < 5; i++) await nextTask();
  assertEquals(released, ["1"]);
  assertEquals(served.reports, []);
});

test("clone file: a flushed open leaves no job behind", async () => {
  let jobs = 0;
  const gate = new Gate();
  const begun = new Gate();
  const fs = new MemoryFs();
  const job: DirHooks = {
    members: { ctl: {} },
    release: () => void jobs--,
  };
  fs.define("d", { lookup: (name) => name === "1" ? job : undefined });
  fs.define("d/clone", {
    clone: async () => {
      begun.open();
      await gate.passed;
      jobs++;
      return "1/ctl";
    },
  });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.walk("d/clone");
  const tag = client.send({ type: "Topen", fid, mode: OREAD });
  await begun.passed;
  const flushed = client.flush(tag);
  gate.open();
  await flushed;
  await client.clunk(fid);
  assertEquals(jobs, 0);
});

test("clone file: a path that leads nowhere is an error, and what was passed is released", async () => {
  const released: string[] = [];
  const fs = new MemoryFs();
  const job: DirHooks = {
    members: {
      ctl: {
        content: () => {
          throw new NinePError("no such job");
        },
      },
      again: { clone: () => "ctl" },
    },
    release: () => void released.push("job"),
  };
  fs.define("d", { lookup: (name) => name === "1" ? job : undefined });
  let path: unknown = "2/ctl";
  fs.define("d/clone", { clone: () => path as string }); // As from JavaScript.
  await using served = new ServedTree(fs);
  const client = await served.client();
  const open = () => client.open("d/clone");
  await refused("file does not exist", open());
  path = "1/none";
  await refused("file does not exist", open());
  path = "1/ctl";
  await refused("no such job", open());
  path = "1/ctl/x";
  await refused("not a directory", open());
  assertEquals(released, ["job", "job", "job"]);
  assertEquals(served.reports.filter((e) => !(e instanceof NinePError)), []);
  for (const wrong of ["1/again", "clone", "..", "", 5, undefined]) {
    path = wrong;
    const reply = await client.start({
      type: "Topen",
      fid: await client.walk("d/clone"),
      mode: OREAD,
    }).reply;
    assertEquals(reply.type, "Rerror", `${wrong}`);
  }
});

test("clone file: behind a composition the jobs are released, too", async () => {
  for (const view of ["mount", "subtree", "readonly", "union"]) {
    const { fs, jobs, served } = new Jobs();
    await using _served = served;
    const { handler } = view === "mount"
      ? mount({ "/": new MemoryFs({ far: {} }), "/far": fs })
      : view === "subtree"
      ? subtree(fs, "jobs")
      : view === "readonly"
      ? readonly(fs)
      : union(new MemoryFs({}, { mode: 0o777 }), fs);
    const dir = { mount: "far/jobs", subtree: "", readonly: "jobs" }[view] ??
      "jobs";
    const [here, there] = pair();
    const serving = serve(there, handler);
    const client = await connect(here);
    const mode = { read: true, write: view === "mount" };
    const ctl = await client.open(`${dir}/clone`, mode);
    const buffer = new Uint8Array(8);
    assertEquals(await ctl.read(buffer), 1, view);
    assertEquals(await client.readTextFile(`${dir}/1/ctl`), "1", view);
    assertEquals(jobs.size, 1, view);
    await ctl.close();
    assertEquals(jobs.size, 0, view);
    await client.open(`${dir}/clone`, mode);
    assertEquals(jobs.size, 1, view);
    await client.close();
    await serving;
    assertEquals(jobs.size, 0, view);
  }
});

test("remove: a program takes the whole directory away while a client is in it", async () => {
  const { fs, jobs, served } = new Jobs();
  await using _served = served;
  const client = await served.client();
  const ctl = await client.open("jobs/clone", ORDWR);
  const dir = await client.walk("jobs/1");
  const top = await client.walk("jobs");
  fs.remove("jobs", { recursive: true });
  assertEquals(await client.text(ctl), "1");
  await refused("file has been removed", client.walk("1", top));
  await client.clunk(ctl);
  await client.clunk(dir);
  assertEquals(jobs.size, 0);
});
