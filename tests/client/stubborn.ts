// A child that serves, ignores the end of its input and SIGTERM, and holds a TCP
// connection to its parent as long as it lives.

import { connect } from "node:net";
import process from "node:process";

process.on("SIGTERM", () => {});
connect(Number(process.argv[2]), "127.0.0.1");
setInterval(() => {}, 1000);
