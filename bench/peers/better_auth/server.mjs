// better-auth with e-mail and password on SQLite, as its documentation sets it up on Node's own server.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// Its packages lie elsewhere, where `import` does not look.
const require = createRequire(join(process.env.PACKAGES, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { betterAuth } = await load("better-auth");
const { toNodeHandler } = await load("better-auth/node");
const { getMigrations } = await load("better-auth/db/migration");
const Database = require("better-sqlite3");

const options = {
  baseURL: `http://127.0.0.1:${process.env.PORT}`,
  secret: "a secret of thirty-two characters or more",
  database: new Database(process.env.DATABASE_FILE),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: "error" },
};
await (await getMigrations(options)).runMigrations();
createServer(toNodeHandler(betterAuth(options))).listen(Number(process.env.PORT), "127.0.0.1");
