// Permissions: their table, and groups with and without a user database.
import { assertEquals } from "@std/assert";
import { OREAD, OWRITE } from "../../../codec.ts";
import {
  governs,
  isLeader,
  isMember,
  permits,
} from "../../../fs/rules/access.ts";
import { MemoryFs, type Users } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { refused, ServedTree } from "../tree_client.ts";

const DENIED = "permission denied";
const NOT_MEMBER = "not a member of proposed group";

const USERS: Users = {
  sys: { members: ["ken", "rob"], leader: "ken" },
  bin: { members: ["rob"], leader: "ken" },
  open: { members: ["glenda", "rob"] },
  ken: {},
  rob: {},
};

test("isMember(): without users, of the group of the same name only", () => {
  assertEquals(isMember(undefined, "ken", "ken"), true);
  assertEquals(isMember(undefined, "ken", "sys"), false);
});

test("isMember(): with users, the listed members, and the user of the same name", () => {
  assertEquals(isMember(USERS, "rob", "sys"), true);
  assertEquals(isMember(USERS, "glenda", "sys"), false);
  assertEquals(isMember(USERS, "ken", "bin"), false); // Leads it, no more.
  assertEquals(isMember(USERS, "ken", "ken"), true);
  assertEquals(isMember(USERS, "glenda", "glenda"), false); // Not known.
});

test("isLeader(): the leader, or where there is none each member", () => {
  assertEquals(isLeader(undefined, "ken", "ken"), true);
  assertEquals(isLeader(undefined, "ken", "sys"), false);
  assertEquals(isLeader(USERS, "ken", "sys"), true);
  assertEquals(isLeader(USERS, "rob", "sys"), false);
  assertEquals(isLeader(USERS, "rob", "open"), true);
  assertEquals(isLeader(USERS, "ken", "open"), false);
  assertEquals(isLeader(USERS, "rob", "none"), false);
});

test("groups are never found in a prototype", () => {
  for (const name of ["constructor", "__proto__", "toString"]) {
    assertEquals(isMember(USERS, name, name), false);
    assertEquals(isLeader(USERS, name, name), false);
  }
});

test("permits(): owner has all three sets, members two, others one", () => {
  const allowed = (uname: string, mode: number, users?: Users) =>
    permits(users, { mode, uid: "ken", gid: "sys" }, uname, 4);
  for (const mode of [0o400, 0o040, 0o004]) {
    assertEquals(allowed("ken", mode, USERS), true);
    assertEquals(allowed("rob", mode, USERS), mode !== 0o400);
    assertEquals(allowed("glenda", mode, USERS), mode === 0o004);
    assertEquals(allowed("rob", mode), mode === 0o004);
    assertEquals(allowed("sys", mode), mode !== 0o400);
  }
  // Rights add up: no set of permissions removes a right of another set.
  const file = { mode: 0o421, uid: "ken", gid: "sys" };
  assertEquals(permits(USERS, file, "ken", 7), true);
  assertEquals(permits(USERS, file, "rob", 3), true);
  assertEquals(permits(USERS, file, "rob", 7), false);
  assertEquals(permits(USERS, file, "glenda", 1), true);
});

test("governs(): the owner, and the leader of the group", () => {
  const file = { mode: 0, uid: "rob", gid: "sys" };
  const who = ["rob", "ken", "glenda", "sys"];
  assertEquals(who.map((u) => governs(USERS, file, u)), [
    true,
    true,
    false,
    false,
  ]);
  assertEquals(who.map((u) => governs(undefined, file, u)), [
    true,
    false,
    false,
    true,
  ]);
});

function withUsers(users: Users | null = USERS): ServedTree {
  const options = users === null ? {} : { users };
  const fs = new MemoryFs({}, { mode: 0o777, ...options });
  fs.create("f", { mode: 0o640, uid: "rob", gid: "sys", data: "data" });
  return new ServedTree(fs);
}

test("users: members open as the group may, others do not", async () => {
  await using served = withUsers();
  const ken = await served.client("ken");
  assertEquals(await ken.text(await ken.open("f")), "data");
  await refused(DENIED, ken.open("f", OWRITE));
  const glenda = await served.client("glenda");
  await refused(DENIED, glenda.open("f"));
  const sys = await served.client("sys"); // Of the group of that name.
  await sys.open("f");
});

test("users: the group's leader sets mode and times, a member does not (S102)", async () => {
  await using served = withUsers();
  const ken = await served.client("ken");
  await ken.wstat("f", { mode: 0o660 });
  await ken.wstat("f", { mtime: 5 });
  assertEquals((await ken.stat("f")).mode, 0o660);
  const sys = await served.client("sys");
  await refused("not owner", sys.wstat("f", { mode: 0o666 }));
  await refused("not owner", sys.wstat("f", { mtime: 6 }));
});

test("users: gid by an owner in the new group, or by the leader of both (S105)", async () => {
  await using served = withUsers();
  const [ken, rob, glenda] = await Promise.all(
    ["ken", "rob", "glenda"].map((uname) => served.client(uname)),
  );
  await rob.wstat("f", { gid: "bin" }); // The owner, a member.
  await refused(NOT_MEMBER, rob.wstat("f", { gid: "ken" }));
  await ken.wstat("f", { gid: "sys" }); // Leads bin and sys.
  await refused(NOT_MEMBER, ken.wstat("f", { gid: "open" }));
  await refused(NOT_MEMBER, glenda.wstat("f", { gid: "open" }));
  await rob.wstat("f", { gid: "rob" });
  await refused(NOT_MEMBER, ken.wstat("f", { gid: "sys" }));
  assertEquals(served.fs.stat("f").gid, "rob");
});

test("users: a group that is not in the database is unknown", async () => {
  await using served = withUsers();
  const rob = await served.client("rob");
  for (const gid of ["nobody", "constructor", "none"]) {
    await refused("unknown group", rob.wstat("f", { gid }));
  }
  await using without = withUsers(null);
  const other = await without.client("rob");
  await refused(NOT_MEMBER, other.wstat("f", { gid: "nobody" }));
});

test("users: a user that is not in the database has the rights of others", async () => {
  await using served = withUsers();
  served.fs.chmod("f", 0o664);
  const guest = await served.client("guest");
  await guest.open("f", OREAD);
  await refused(DENIED, guest.open("f", OWRITE));
  const own = await guest.create("/", "own", 0o600, OWRITE);
  assertEquals((await guest.stat(own)).uid, "guest");
});

test("users: changes of the program's object count at once", async () => {
  const users: Record<string, { members: string[] }> = {
    sys: { members: [] },
  };
  await using served = withUsers(users);
  const glenda = await served.client("glenda");
  await refused(DENIED, glenda.open("f"));
  users.sys.members.push("glenda");
  await glenda.open("f");
});

test("users: a new file has the group of its directory, for any user", async () => {
  await using served = withUsers();
  served.fs.mkdir("d", { mode: 0o777, gid: "sys" });
  const glenda = await served.client("glenda");
  await glenda.create("d", "f", 0o666);
  const { uid, gid } = await glenda.stat("d/f");
  assertEquals([uid, gid], ["glenda", "sys"]);
});
