/**
 * Serves a tree of your own: each row of an SQLite table is a file.
 *
 *     deno run --allow-net -RW examples/sqlite.ts DATABASE [ADDRESS]
 *     bun examples/sqlite.ts DATABASE [ADDRESS]
 *
 * @module
 */
import process from "node:process";
import * as p9 from "../mod.ts";
const [path = "", address = "tcp://127.0.0.1:5640"] = process.argv.slice(2);
const { DatabaseSync } = await import("node:sqlite").catch(() => {
  console.error("There is no node:sqlite: Node has it from version 22 on");
  return process.exit(1);
});
const db = new DatabaseSync(path);
db.exec(`CREATE TABLE IF NOT EXISTS files
  (name UNIQUE, data, id INTEGER PRIMARY KEY AUTOINCREMENT)`); // No id comes twice.
type Row = { id: number; name: string; data: Uint8Array };
const rows = (where: string, value: string | number) =>
  db.prepare(`SELECT * FROM files WHERE ${where} ?`).all(value) as Row[];
const run = (text: string, ...values: Row[keyof Row][]) =>
  db.prepare(text).run(...values).changes > 0;
const statOf = ({ id, name, data: { length } }: Row) => (
  { qid: { type: 0, vers: 0, path: BigInt(id) }, name, mode: 0o666, length }
);
function fileOf(row: Row): p9.CreatedFile {
  const get = () => rows("id =", row.id)[0]?.data ?? row.data;
  const set = (data: Uint8Array) =>
    void run("UPDATE files SET data = ? WHERE id = ?", data, row.id);
  const open: p9.OpenFile = {
    read: ({ offset, count }) => get().subarray(offset, offset + count),
    write({ offset, data }) {
      const all = new Uint8Array(Math.max(get().length, offset + data.length));
      all.set(get());
      all.set(data, offset);
      set(all);
    },
  };
  const stat = () => statOf({ ...row, data: get() });
  const begin = ({ mode }: { mode: number }) => {
    if (mode & p9.OTRUNC) set(new Uint8Array(0));
    return open;
  };
  return { file: { qid: statOf(row).qid, stat, open: begin }, open };
}
const root: p9.TreeDir = {
  qid: { type: p9.QTDIR, vers: 0, path: 0n },
  stat: () => ({ qid: root.qid, name: "/", mode: p9.DMDIR + 0o777 }),
  lookup: (name) => rows("name =", name).map(fileOf)[0]?.file,
  list: ({ cookie }) =>
    rows("id >", cookie).map((row) => ({ stat: statOf(row), cookie: row.id })),
  create({ name }) {
    const made = run("INSERT OR IGNORE INTO files VALUES (?, x'', NULL)", name);
    if (!made) throw new p9.NinePError("file already exists");
    return fileOf(rows("name =", name)[0]);
  },
  remove: (name) => void run("DELETE FROM files WHERE name = ?", name),
};
console.log("listening on", (await p9.listen(address, p9.treeOf(root))).addr);
