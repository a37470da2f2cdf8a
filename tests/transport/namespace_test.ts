// C-82: the services of Plan 9 from User Space.

import { assertEquals, assertThrows } from "@std/assert";
import { namespaceAddress } from "../../transport.ts";
import { test } from "../harness.ts";

test("C-82: namespaceAddress() names the socket as plan9port does", () => {
  const address = (environment: Record<string, string>) =>
    namespaceAddress("wmii", environment);
  assertEquals(address({ USER: "u" }), "unix:///tmp/ns.u.:0/wmii");
  assertEquals(address({ USER: "u", DISPLAY: "" }), "unix:///tmp/ns.u.:0/wmii");
  assertEquals(
    address({ USER: "u", DISPLAY: ":0.0" }),
    "unix:///tmp/ns.u.:0/wmii",
  );
  assertEquals(
    address({ USER: "u", DISPLAY: "far:10.1" }),
    "unix:///tmp/ns.u.far:10/wmii",
  );
  assertEquals(
    address({ USER: "u", DISPLAY: "/tmp/launch/x:0" }),
    "unix:///tmp/ns.u._tmp_launch_x:0/wmii",
  );
  assertEquals(
    address({ USER: "u", DISPLAY: ":3", NAMESPACE: "/run/ns" }),
    "unix:///run/ns/wmii",
  );
});

test("namespaceAddress() refuses names that lead elsewhere", () => {
  for (const name of ["", "a/b", "../x"]) {
    assertThrows(() => namespaceAddress(name, { USER: "u" }), TypeError);
  }
  assertThrows(
    () => namespaceAddress("acme", {}),
    TypeError,
    "USER is not set",
  );
});
